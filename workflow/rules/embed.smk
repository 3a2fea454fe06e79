rule embed:
    """Embed every face and its mirror image with the teacher, once."""
    input:
        weights="<results>/teacher/seed{seed}/weights.safetensors",
        store=TRAINING_STORE,
    output:
        embeddings="<results>/teacher/seed{seed}/embeddings.npy",
        sidecar="<results>/teacher/seed{seed}/embeddings.json",
    log:
        "<results>/logs/embed/seed{seed}.log",
    benchmark:
        "<results>/benchmarks/embed/seed{seed}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: study["execution"]["threads"]
    resources:
        mem_mb=4000,
        runtime=720,
        gpu=GPUS,
    params:
        execution=INFERENCE,
        code=code("embed.py", network_code(study["teacher"]["network"])),
    script:
        "../scripts/embed.py"
