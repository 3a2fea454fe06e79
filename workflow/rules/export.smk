# Write the chosen student as ONNX and safetensors, check that they agree with PyTorch, and describe it.
use rule template as export with:
    input:
        weights=f"<results>/students/{EXPORTED}/seed{SEEDS[0]}/weights.safetensors",
        scores=f"<results>/evaluation/students/{EXPORTED}/seed{SEEDS[0]}/scores.parquet",
        metrics=f"<results>/evaluation/students/{EXPORTED}/seed{SEEDS[0]}/metrics.json",
        store=TRAINING_STORE,
        teacher=f"<results>/teacher/seed{SEEDS[0]}/weights.safetensors",
    output:
        onnx="<results>/export/model.onnx",
        safetensors="<results>/export/model.safetensors",
        parity="<results>/export/parity.json",
        card="<results>/export/README.md",
    pathvars:
        name="export",
    priority: 1  # takes longer than the figures that could be next
    conda:
        "../../envs/networks.yaml"
    resources:
        mem_mb=memory_of("export"),
        runtime=minutes_of("export"),
    params:
        script="export.py",
        name=f"{study['student']['network']}, {LABELS[f'students/{EXPORTED}'].removeprefix('+ ')}",
        settings={
            **{key: study["export"][key] for key in ("far", "opset", "parity_faces")},
            "flip": study["evaluation"]["flip"],
            "study": study["study"],
            "title": study["title"],
            "benchmarks": BENCHMARKS,
            "teacher_license": study["teacher"]["license"],
        },
        code=lambda wildcards: code("export.py", network_code(study["student"]["network"])),
