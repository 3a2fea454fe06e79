# Second stage: continue training the ArcFace student with one method.
use rule train as distill with:
    input:
        unpack(method_inputs),
        store=TRAINING_STORE,
        training_set=training_set,
        initial=first_stage_file("student", "weights.safetensors"),
    output:
        weights="<results>/students/{method}/seed{seed}/weights.safetensors",
        history="<results>/students/{method}/seed{seed}/history.parquet",
    pathvars:
        name="distill/{method}.seed{seed}",
    params:
        settings=lambda wildcards: method_settings(wildcards.method),
        code=lambda wildcards: training_code(study["student"]["network"], ALL_METHODS[wildcards.method]),
