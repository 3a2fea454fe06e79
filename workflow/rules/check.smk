# Look through data and models before anything is aligned or trained, and list everything that would stop the study.
# Without any file that it makes, not even one with its time, it is run whenever it is asked for.
rule check:
    log:
        "<results>/logs/check.log",
    conda:
        "../../envs/networks.yaml"
    resources:
        mem_mb=memory_of("check"),
        runtime=minutes_of("check"),
    params:
        parts=lambda wildcards: parts_to_check(),
        folder=lambda wildcards: PATHVARS.apply("<results>"),
    script:
        "../scripts/check.py"


# Say what the study costs on GPUs, before anything is acquired. As check, it has no output, so that it always answers.
rule cost:
    log:
        "<results>/logs/cost.log",
    conda:
        "../../envs/networks.yaml"
    resources:
        mem_mb=memory_of("template"),
        runtime=minutes_of("template"),
    params:
        parts=lambda wildcards: parts_of_cost(),
        title=study["study"],
        table=lambda wildcards: PATHVARS.apply("<results>/cost.csv"),
    script:
        "../scripts/cost.py"
