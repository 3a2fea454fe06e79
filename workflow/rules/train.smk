# First stage: train the teacher, the student or a further model from scratch.
use rule template as train with:
    input:
        store=TRAINING_STORE,
        training_set=training_set,
    output:
        weights="<results>/{role}/seed{seed}/weights.safetensors",
        history="<results>/{role}/seed{seed}/history.parquet",
        loss_state="<results>/{role}/seed{seed}/loss.safetensors",
        timing="<results>/{role}/seed{seed}/timing.json",
    pathvars:
        name="train/{role}.seed{seed}",
    wildcard_constraints:
        role="|".join(role for role in TRAINED if role != "teacher" or not SNAPSHOTS) or NEVER_MATCHES,
    conda:
        "../../envs/networks.yaml"
    threads: TRAINING_THREADS
    resources:
        mem_mb=memory_of("train", study["execution"]["processes"]),
        runtime=minutes_of("train"),
        gpu=TRAINING_GPUS,
    params:
        script="train.py",
        shared_folder=lambda wildcards, output: shared_folder("train"),
        settings=lambda wildcards: role_settings(wildcards.role),
        code=lambda wildcards: training_code(NETWORKS[wildcards.role]["network"], NETWORKS[wildcards.role]["method"]),


# First stage: train the teacher, and also save it as it was at equal shares of its training.
if SNAPSHOTS:

    use rule train as train_with_snapshots with:
        output:
            weights="<results>/teacher/seed{seed}/weights.safetensors",
            history="<results>/teacher/seed{seed}/history.parquet",
            loss_state="<results>/teacher/seed{seed}/loss.safetensors",
            timing="<results>/teacher/seed{seed}/timing.json",
            snapshots=[f"<results>/teacher/seed{{seed}}/snapshots/{number}/weights.safetensors" for number in SNAPSHOTS],
        pathvars:
            name="train/teacher.seed{seed}",
        params:
            settings=role_settings("teacher"),
            code=lambda wildcards: training_code(study["teacher"]["network"], study["teacher"]["method"]),


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
    conda:
        "../../envs/networks.yaml"
    params:
        script="import_weights.py",
        settings=lambda wildcards: study["networks"][network_of(wildcards.role)],
        code=lambda wildcards: code("import_weights.py", network_code(network_of(wildcards.role))),
