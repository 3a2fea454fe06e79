rule export:
    """Write the chosen student as ONNX and safetensors, check that they agree with PyTorch, and say what it is."""
    input:
        weights=f"<results>/students/{EXPORTED}/seed{SEEDS[0]}/weights.safetensors",
        scores=f"<results>/evaluation/students/{EXPORTED}/seed{SEEDS[0]}.parquet",
        figures=f"<results>/evaluation/students/{EXPORTED}/seed{SEEDS[0]}.json",
        store=TRAINING_STORE,
        teacher=f"<results>/teacher/seed{SEEDS[0]}/weights.safetensors",
    output:
        onnx="<results>/export/model.onnx",
        safetensors="<results>/export/model.safetensors",
        parity="<results>/export/parity.json",
        card="<results>/export/README.md",
    log:
        "<results>/logs/export.log",
    benchmark:
        "<results>/benchmarks/export.tsv"
    conda:
        "../../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        name=f"{study['student']['network']}, {LABELS[f'students/{EXPORTED}'].removeprefix('+ ')}",
        settings={
            **{key: study["export"][key] for key in ("fmr", "opset", "parity_faces")},
            "mirror": study["evaluation"]["mirror"],
            "title": study["title"],
            "benchmarks": BENCHMARKS,
            "teacher_licence": study["teacher"]["licence"],
        },
        code=code("export.py", network_code(study["student"]["network"])),
    script:
        "../scripts/export.py"
