# First stage: train the teacher or the student from scratch.
use rule template as train with:
    input:
        store=TRAINING_STORE,
        training_set=training_set,
    output:
        weights="<results>/{role}/seed{seed}/weights.safetensors",
        history="<results>/{role}/seed{seed}/history.parquet",
    pathvars:
        name="train/{role}.seed{seed}",
    wildcard_constraints:
        role="|".join(TRAINED) or NEVER_MATCHES,
    threads: TRAINING_THREADS
    resources:
        mem_mb=5000,
        runtime=2880,
        gpu=TRAINING_GPUS,
    params:
        script="train.py",
        settings=lambda wildcards: role_settings(wildcards.role),
        code=lambda wildcards: training_code(study[wildcards.role]["network"], study[wildcards.role]["method"]),


# First stage: import a model's weights from a file.
use rule template as import_weights with:
    input:
        source=lambda wildcards: PRETRAINED[wildcards.role],
    output:
        weights="<results>/{role}/seed{seed}/weights.safetensors",
    pathvars:
        name="import_weights/{role}.seed{seed}",
    wildcard_constraints:
        role="|".join(PRETRAINED) or NEVER_MATCHES,
    params:
        script="import_weights.py",
        settings=lambda wildcards: study["networks"][network_of(wildcards.role)],
        study=study["study"],
        code=lambda wildcards: code("import_weights.py", network_code(network_of(wildcards.role))),
