rule train:
    """First stage: train the teacher or the student from scratch."""
    input:
        store=TRAINING_STORE,
        training_set="<results>/split/training_set.parquet",
    output:
        weights="<results>/{role}/seed{seed}/weights.safetensors",
        history="<results>/{role}/seed{seed}/history.parquet",
    log:
        "<results>/logs/train/{role}.seed{seed}.log",
    benchmark:
        "<results>/benchmarks/train/{role}.seed{seed}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: TRAINING_THREADS
    resources:
        mem_mb=4000,
        runtime=2880,
        gpu=TRAINING_GPUS,
    params:
        settings=lambda wildcards: role_settings(wildcards.role),
        code=lambda wildcards: code("train.py", *role_code(wildcards.role)),
    script:
        "../scripts/train.py"
