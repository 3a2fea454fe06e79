# Get the images of one data set from its source.
use rule template as acquire with:
    output:
        images=directory("<results>/faces/{dataset}/images"),
        manifest="<results>/faces/{dataset}/images.csv",
        origin="<results>/faces/{dataset}/origin.json",
    pathvars:
        name="acquire/{dataset}",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("acquire"),
        runtime=minutes_of("acquire"),
    params:
        script="acquire.py",
        source=lambda wildcards: source_settings(wildcards.dataset),
        downloads=study["downloads"],
        code=lambda wildcards: code("acquire.py", source_code(wildcards.dataset)),
