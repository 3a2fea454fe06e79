# Measure the cost of a network: parameters, FLOPs, inference time per image.
use rule template as profile with:
    input:
        model=lambda wildcards: NETWORK_FILES.get(wildcards.network, []),
    output:
        "<results>/profile/{network}.json",
    pathvars:
        name="profile/{network}",
    conda:
        "../../envs/networks.yaml"
    threads: ALL_CORES
    resources:
        mem_mb=memory_of("profile"),
        runtime=minutes_of("profile"),
    params:
        script="profile.py",
        shared_folder=lambda wildcards, output: shared_folder("profile"),
        settings=lambda wildcards: study["networks"][wildcards.network],
        runs=study["profile"]["runs"],
        code=lambda wildcards: code("profile.py", network_code(wildcards.network)),
