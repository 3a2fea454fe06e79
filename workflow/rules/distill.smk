rule distill:
    """Second stage: train the ArcFace student on by one method."""
    input:
        unpack(method_inputs),
        store=TRAINING_STORE,
        training_set="<results>/split/training_set.parquet",
        initial="<results>/student/seed{seed}/weights.safetensors",
    output:
        weights="<results>/students/{method}/seed{seed}/weights.safetensors",
        history="<results>/students/{method}/seed{seed}/history.parquet",
    log:
        "<results>/logs/distill/{method}.seed{seed}.log",
    benchmark:
        "<results>/benchmarks/distill/{method}.seed{seed}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: TRAINING_THREADS
    resources:
        mem_mb=4000,
        runtime=2880,
        gpu=TRAINING_GPUS,
    params:
        settings=lambda wildcards: method_settings(wildcards.method),
        code=lambda wildcards: code("train.py", *method_code(wildcards.method)),
    script:
        "../scripts/train.py"
