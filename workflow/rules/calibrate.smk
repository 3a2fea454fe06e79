rule calibrate:
    """Read the margins off the teacher's view of random triplets (§4.1)."""
    input:
        training_set="<results>/split/training_set.parquet",
        teacher_embeddings="<results>/teacher/seed{seed}/embeddings.npy",
    output:
        margins="<results>/calibration/{distance}.seed{seed}.json",
        triplets="<results>/calibration/{distance}.seed{seed}.csv",
    log:
        "<results>/logs/calibrate/{distance}.seed{seed}.log",
    benchmark:
        "<results>/benchmarks/calibrate/{distance}.seed{seed}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=study["calibration"],
        code=code("calibrate.py"),
    script:
        "../scripts/calibrate.py"
