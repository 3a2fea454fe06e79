# Look through data and models before anything is aligned or trained, and list everything that would stop the study.
use rule template as check with:
    pathvars:
        name="check",
    resources:
        mem_mb=5000,
        runtime=240,
    params:
        script="check.py",
        parts=lambda wildcards: parts_to_check(),
        folder=lambda wildcards: PATHVARS.apply("<results>"),
