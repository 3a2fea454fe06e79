rule align:
    """Find every photograph's face and warp it onto ArcFace's template, a shard of the data set at a time."""
    input:
        photographs="<results>/faces/{dataset}/photographs",
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


rule quality:
    """Count what became of the photographs of every data set."""
    input:
        outcomes=expand("<results>/faces/{dataset}/alignment.csv", dataset=study["datasets"]),
        origins=expand("<results>/faces/{dataset}/origin.json", dataset=study["datasets"]),
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
        mem_mb=1000,
        runtime=10,
    params:
        datasets=list(study["datasets"]),
        code=code("quality.py"),
    script:
        "../scripts/quality.py"
