rule profile:
    """Count one network's parameters and operations, and time it on one thread."""
    input:
        model=lambda wildcards: NETWORK_FILES.get(wildcards.network, []),
    output:
        "<results>/profile/{network}.json",
    log:
        "<results>/logs/profile/{network}.log",
    benchmark:
        "<results>/benchmarks/profile/{network}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: ALL_CORES
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        settings=lambda wildcards: study["networks"][wildcards.network],
        runs=study["profile"]["runs"],
        code=lambda wildcards: code("profile_network.py", network_code(wildcards.network)),
    script:
        "../scripts/profile_network.py"
