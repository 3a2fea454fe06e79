# What every rule that runs a script inherits: log, timing, environment, resources.
# `name` is the rule and its wildcards.
rule template:
    log:
        local("<results>/logs/<name>.log"),
    benchmark:
        local("<results>/timings/<name>.tsv")
    pathvars:
        name="template",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory_of("template"),
        runtime=minutes_of("template"),
    params:
        script="",
    script:
        "../scripts/{params.script}"
