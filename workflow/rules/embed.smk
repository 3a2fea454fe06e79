# Embed every face and its flipped copy with the teacher, once.
use rule template as embed with:
    input:
        weights="<results>/teacher/seed{seed}/weights.safetensors",
        store=TRAINING_STORE,
    output:
        embeddings="<results>/teacher/seed{seed}/embeddings.npy",
        sidecar="<results>/teacher/seed{seed}/embeddings.json",
    pathvars:
        name="embed/seed{seed}",
    threads: study["execution"]["threads"]
    resources:
        mem_mb=5000,
        runtime=720,
        gpu=GPUS,
    params:
        script="embed.py",
        execution=INFERENCE,
        code=lambda wildcards: code("embed.py", network_code(study["teacher"]["network"])),
