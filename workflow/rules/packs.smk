rule export_training_pack:
    """Write a data set's faces as an InsightFace training pack."""
    input:
        store="<results>/faces/{dataset}/store.arrow",
    output:
        records="<results>/packs/{dataset}/train.rec",
        index="<results>/packs/{dataset}/train.idx",
        properties="<results>/packs/{dataset}/property",
    log:
        "<results>/logs/export_training_pack/{dataset}.log",
    benchmark:
        "<results>/benchmarks/export_training_pack/{dataset}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        code=code("export_training_pack.py"),
    script:
        "../scripts/export_training_pack.py"


rule export_verification_pack:
    """Write a benchmark's pairs as an InsightFace verification pack."""
    input:
        store=lambda wildcards: benchmark_store(wildcards.benchmark),
        pairs="<results>/split/{benchmark}.csv",
    output:
        "<results>/packs/{benchmark}.bin",
    log:
        "<results>/logs/export_verification_pack/{benchmark}.log",
    benchmark:
        "<results>/benchmarks/export_verification_pack/{benchmark}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code("export_verification_pack.py"),
    script:
        "../scripts/export_verification_pack.py"


rule mxnet_environment:
    """Make the isolated environment of mxnet, where conda does not."""
    output:
        directory("<results>/packs/mxnet"),
    log:
        "<results>/logs/mxnet_environment.log",
    benchmark:
        "<results>/benchmarks/mxnet_environment.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        requirements=(ROOT / "envs/mxnet.txt").read_text().splitlines()[1:],
        python=sys.executable,
    shell:
        "{params.python} -m venv {output} > {log} 2>&1 && {output}/bin/pip install {params.requirements} >> {log} 2>&1"


rule read_with_mxnet:
    """List what mxnet itself reads from the exported packs."""
    input:
        environment=[] if USES_CONDA else "<results>/packs/mxnet",
        records="<results>/packs/{dataset}/train.rec",
        index="<results>/packs/{dataset}/train.idx",
    output:
        "<results>/packs/{dataset}.mxnet.csv",
    log:
        "<results>/logs/read_with_mxnet/{dataset}.log",
    benchmark:
        "<results>/benchmarks/read_with_mxnet/{dataset}.tsv"
    conda:
        "../../envs/mxnet.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        python=lambda wildcards, input: "python" if USES_CONDA else f"{input.environment}/bin/python",
        reader=ROOT / "workflow/scripts/read_with_mxnet.py",
    shell:
        "{params.python} {params.reader} {input.index} {input.records} {output} > {log} 2>&1"


rule check_training_pack:
    """Compare what mxnet read with the face store, byte for byte."""
    input:
        store="<results>/faces/{dataset}/store.arrow",
        listing="<results>/packs/{dataset}.mxnet.csv",
    output:
        "<results>/packs/{dataset}.check.json",
    log:
        "<results>/logs/check_training_pack/{dataset}.log",
    benchmark:
        "<results>/benchmarks/check_training_pack/{dataset}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        code=code("check_training_pack.py"),
    script:
        "../scripts/check_training_pack.py"
