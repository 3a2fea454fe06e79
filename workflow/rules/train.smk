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
    wildcard_constraints:
        role="|".join(TRAINED) or "nobody",
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


rule bring:
    """First stage: take a model's weights from a file."""
    input:
        source=lambda wildcards: BROUGHT[wildcards.role],
    output:
        weights="<results>/{role}/seed{seed}/weights.safetensors",
    log:
        "<results>/logs/bring/{role}.seed{seed}.log",
    benchmark:
        "<results>/benchmarks/bring/{role}.seed{seed}.tsv"
    wildcard_constraints:
        role="|".join(BROUGHT) or "nobody",
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wildcards: study["networks"][study[wildcards.role]["network"]],
        study=study["study"],
        code=lambda wildcards: code("bring.py", network_code(study[wildcards.role]["network"])),
    script:
        "../scripts/bring.py"
