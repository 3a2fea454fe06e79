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
        downloads=study["downloads"],
        code=lambda wildcards: code("acquire.py", source_code(wildcards.dataset)),
    script:
        "../scripts/acquire.py"
