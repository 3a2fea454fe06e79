rule align:
    """Find every photograph's face and warp it onto ArcFace's template, a shard of the data set at a time."""
    input:
        # The manifest says what is in the folder; the folder's time says nothing.
        photographs=ancient("<results>/faces/{dataset}/photographs"),
        manifest="<results>/faces/{dataset}/photographs.csv",
        origin="<results>/faces/{dataset}/origin.json",
    output:
        store="<results>/faces/{dataset}/shards/{shard}.arrow",
        outcomes="<results>/faces/{dataset}/shards/{shard}.csv",
    log:
        "<results>/logs/align/{dataset}.{shard}.log",
    benchmark:
        "<results>/benchmarks/align/{dataset}.{shard}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=720,
    params:
        source=lambda wildcards: source_settings(wildcards.dataset),
        settings=lambda wildcards: study["datasets"][wildcards.dataset]["alignment"],
        code=lambda wildcards: code("align.py", *alignment_code(wildcards.dataset)),
    script:
        "../scripts/align.py"


rule gather:
    """Join the shards of a data set into its face store."""
    input:
        shards=lambda wildcards: of_shards(wildcards.dataset, "arrow"),
        outcomes=lambda wildcards: of_shards(wildcards.dataset, "csv"),
    output:
        store="<results>/faces/{dataset}/store.arrow",
        outcomes="<results>/faces/{dataset}/alignment.csv",
    log:
        "<results>/logs/gather/{dataset}.log",
    benchmark:
        "<results>/benchmarks/gather/{dataset}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        code=code("gather.py"),
    script:
        "../scripts/gather.py"
