# Second stage: train the student with one method, from its first-stage weights or from scratch.
use rule train as distill with:
    input:
        unpack(method_inputs),
        store=TRAINING_STORE,
        training_set=training_set,
    output:
        weights="<results>/students/{method}/seed{seed}/weights.safetensors",
        history="<results>/students/{method}/seed{seed}/history.parquet",
        loss_state="<results>/students/{method}/seed{seed}/loss.safetensors",
        timing="<results>/students/{method}/seed{seed}/timing.json",
    pathvars:
        name="distill/{method}.seed{seed}",
    params:
        settings=lambda wildcards: method_settings(wildcards.method),
        code=lambda wildcards: training_code(study["student"]["network"], ALL_METHODS[wildcards.method]),
