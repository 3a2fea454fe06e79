rule acquire:
    """Get the photographs of one data set from its source."""
    output:
        photographs=directory("<results>/faces/{dataset}/photographs"),
        manifest="<results>/faces/{dataset}/photographs.csv",
        origin="<results>/faces/{dataset}/origin.json",
    log:
        "<results>/logs/acquire/{dataset}.log",
    benchmark:
        "<results>/benchmarks/acquire/{dataset}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        source=lambda wildcards: source_settings(wildcards.dataset),
        code=lambda wildcards: code("acquire.py", f"faces.sources.{study['datasets'][wildcards.dataset]['source']}"),
    script:
        "../scripts/acquire.py"
