rule pairs:
    """Make a benchmark's pairs: of held-out people, or by the source's published protocol."""
    input:
        store=lambda wildcards: benchmark_store(wildcards.benchmark),
        photographs=lambda wildcards: ancient(f"<results>/faces/{benchmark_data(wildcards.benchmark)}/photographs"),
        manifest=lambda wildcards: f"<results>/faces/{benchmark_data(wildcards.benchmark)}/photographs.csv",
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


rule quality:
    """Count what became of the photographs, and what training set and benchmarks share."""
    input:
        stores=expand("<results>/faces/{dataset}/store.arrow", dataset=study["datasets"]),
        outcomes=expand("<results>/faces/{dataset}/alignment.csv", dataset=study["datasets"]),
        origins=expand("<results>/faces/{dataset}/origin.json", dataset=study["datasets"]),
        training_store=TRAINING_STORE,
        training_set="<results>/split/training_set.parquet",
        benchmark_stores=[benchmark_store(benchmark) for benchmark in BENCHMARKS],
        pairs=expand("<results>/split/{benchmark}.csv", benchmark=BENCHMARKS),
    output:
        csv="<results>/faces/quality.csv",
        html=report(
            "<results>/faces/quality.html",
            caption=caption("quality"),
            category="1 Faces",
            labels={"item": "Photographs and faces", "kind": "table"},
        ),
    log:
        "<results>/logs/quality.log",
    benchmark:
        "<results>/benchmarks/quality.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        datasets=list(study["datasets"]),
        benchmarks=list(BENCHMARKS.values()),
        code=code("quality.py"),
    script:
        "../scripts/quality.py"
