# Write a data set's faces as an InsightFace training pack, without the people whom the first round tests.
use rule template as export_training_pack with:
    input:
        unpack(left_out_of_pack),
        store="<results>/faces/{dataset}/store.arrow",
    output:
        records="<results>/packs/{dataset}/train.rec",
        index="<results>/packs/{dataset}/train.idx",
        properties="<results>/packs/{dataset}/property",
    pathvars:
        name="export_training_pack/{dataset}",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("export_training_pack"),
        runtime=minutes_of("export_training_pack"),
    params:
        script="export_training_pack.py",
        code=lambda wildcards: code("export_training_pack.py"),


# Write a benchmark's pairs as an InsightFace verification pack.
use rule template as export_verification_pack with:
    input:
        store=lambda wildcards: benchmark_store(wildcards.benchmark),
        pairs="<results>/split/round0/pairs/{benchmark}.parquet",
    output:
        "<results>/packs/{benchmark}.bin",
    pathvars:
        name="export_verification_pack/{benchmark}",
    wildcard_constraints:
        benchmark="|".join(PAIRS_OF_FACES) or NEVER_MATCHES,
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("export_verification_pack"),
        runtime=minutes_of("export_verification_pack"),
    params:
        script="export_verification_pack.py",
        code=lambda wildcards: code("export_verification_pack.py"),


rule create_mxnet_environment:
    """Create the isolated environment of mxnet, unless conda does."""
    output:
        directory("<results>/packs/mxnet"),
    log:
        "<results>/logs/create_mxnet_environment.log",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("create_mxnet_environment"),
        runtime=minutes_of("create_mxnet_environment"),
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
    conda:
        "../../envs/mxnet.yaml"
    resources:
        mem_mb=memory_of("read_with_mxnet"),
        runtime=minutes_of("read_with_mxnet"),
    params:
        python=lambda wildcards, input: "python" if USES_CONDA else f"{input.environment}/bin/python",
        reader=ROOT / "workflow/scripts/read_with_mxnet.py",
    shell:
        "{params.python} {params.reader} {input.index} {input.records} {output} > {log} 2>&1"


# Compare what mxnet read with the face store, byte for byte.
use rule template as check_training_pack with:
    input:
        unpack(left_out_of_pack),
        store="<results>/faces/{dataset}/store.arrow",
        listing="<results>/packs/{dataset}.mxnet.csv",
    output:
        "<results>/packs/{dataset}.check.json",
    pathvars:
        name="check_training_pack/{dataset}",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("check_training_pack"),
        runtime=minutes_of("check_training_pack"),
    params:
        script="check_training_pack.py",
        code=lambda wildcards: code("check_training_pack.py"),
