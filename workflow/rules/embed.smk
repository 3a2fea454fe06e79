# Embed every face and its flipped copy with a teacher, or a snapshot of it, once.
use rule template as embed with:
    input:
        weights="<results>/{teacher}/seed{seed}/{snapshot}weights.safetensors",
        store=TRAINING_STORE,
    output:
        embeddings="<results>/{teacher}/seed{seed}/{snapshot}embeddings.npy",
        sidecar="<results>/{teacher}/seed{seed}/{snapshot}embeddings.json",
    pathvars:
        name="embed/{snapshot}{teacher}.seed{seed}",
    wildcard_constraints:
        teacher="|".join(["teacher", *OTHERS]),
    conda:
        "../../envs/networks.yaml"
    threads: study["execution"]["threads"]
    resources:
        mem_mb=memory_of("embed"),
        runtime=minutes_of("embed"),
        gpu=GPUS,
    params:
        script="embed.py",
        shared_folder=lambda wildcards, output: shared_folder("embed"),
        execution=INFERENCE,
        code=lambda wildcards: code("embed.py", network_code(network_of(wildcards.teacher))),


# Average the teacher's embeddings of every identity that is trained on.
use rule template as average_embeddings with:
    input:
        training_set=training_set,
        teacher_embeddings=teacher_embeddings,
    output:
        "<results>/class_means/{further}seed{seed}.safetensors",
    pathvars:
        name="average_embeddings/{further}seed{seed}",
    conda:
        "../../envs/networks.yaml"
    resources:
        mem_mb=memory_of("average_embeddings"),
        runtime=minutes_of("average_embeddings"),
    params:
        script="average_embeddings.py",
        code=lambda wildcards: code("average_embeddings.py"),
