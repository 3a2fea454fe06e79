rule pairs:
    """Make a benchmark's pairs: of held-out people, or by the source's published protocol."""
    input:
        store=lambda wildcards: benchmark_store(wildcards.benchmark),
        photographs=lambda wildcards: f"<results>/faces/{benchmark_data(wildcards.benchmark)}/photographs",
    output:
        "<results>/split/{benchmark}.csv",
    log:
        "<results>/logs/pairs/{benchmark}.log",
    benchmark:
        "<results>/benchmarks/pairs/{benchmark}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        protocol=lambda wildcards: protocol(wildcards.benchmark),
        source=lambda wildcards: source_settings(benchmark_data(wildcards.benchmark)),
        code=lambda wildcards: code("pairs.py", source_code(benchmark_data(wildcards.benchmark))),
    script:
        "../scripts/pairs.py"


rule training_set:
    """List the faces to train on: those of nobody who is tested."""
    input:
        store=TRAINING_STORE,
        pairs=expand("<results>/split/{benchmark}.csv", benchmark=BENCHMARKS_ON_TRAINING_DATA),
    output:
        "<results>/split/training_set.parquet",
    log:
        "<results>/logs/training_set.log",
    benchmark:
        "<results>/benchmarks/training_set.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        minimum_images=study["training_data"]["minimum_images"],
        code=code("training_set.py"),
    script:
        "../scripts/training_set.py"
