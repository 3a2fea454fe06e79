"""The model card: what a model is, what it was measured at, and under which terms."""

PERCENT = 100


def model_card(metadata: dict, teacher: dict, figures: dict, parity: dict, settings: dict) -> str:
    """A model card in Markdown.

    Args:
        metadata: of the exported model.
        teacher: metadata of the teacher's weights.
        figures: benchmark to its figures (:func:`triplet_distillation.evaluation.verification.evaluate`).
        parity: as :func:`.export.parity` gives it.
        settings: ``title``, ``benchmarks`` (name to label), ``mirror``, ``teacher_licence``.
    """
    data, takes = metadata["training_data"], metadata["input"]
    return "\n".join(
        [
            f"# {metadata['name']}",
            "",
            f"A face recognition model from the study *{settings['title']}* (`{metadata['study']}`, seed "
            f"{metadata['seed']}), made by the workflow of *Triplet Distillation for Deep Face Recognition*.",
            "",
            "## Use",
            "",
            f"- `model.onnx`: input `images`, [batch, 3, {', '.join(map(str, takes['input_size']))}] float32, "
            f"{takes['colour_order']}, (pixel − {takes['pixel_mean']:g}) / {takes['pixel_scale']:g}; output "
            f"`embeddings`, [batch, {metadata['embedding']['size']}], not normalised.",
            "- `model.safetensors`: the same weights for PyTorch.",
            f"- Faces are aligned: {data['template']} (detector: {data['detector']}).",
            f"- Mirror image: {settings['mirror']}. Scores are cosines.",
            "- Both files carry this in their metadata.",
            "- `python -m triplet_distillation compare model.onnx A.jpg B.jpg` compares two photographs.",
            "",
            "## Measured",
            "",
            "| benchmark | accuracy by folds, % | AUC | equal error rate, % | pairs |",
            "| --- | --- | --- | --- | --- |",
            *(_figures_row(settings["benchmarks"][name], found) for name, found in figures.items()),
            "",
            "| benchmark | false match rate | threshold (cosine) |",
            "| --- | --- | --- |",
            *(_threshold_row(settings["benchmarks"], entry) for entry in metadata["thresholds"]),
            "",
            f"ONNX Runtime against PyTorch on {parity['faces']} training faces: lowest cosine "
            + ", ".join(f"{cosine:.7f} in batches of {size}" for size, cosine in parity["lowest_cosine"].items())
            + ".",
            "",
            "## Where it comes from",
            "",
            f"- Training faces: {data['origin']}; licence: {data['licence']}; {data['citation']}.",
            f"- Teacher: {_teacher(teacher)}; licence: {_teacher_licence(teacher, data, settings)}.",
            f"- Digest of settings, data and code: `{metadata['digest']}`.",
            "",
            "## Limits",
            "",
            "The figures hold for the benchmarks above and faces like theirs. So do the thresholds: measure your own "
            "on your own impostor pairs before a decision about people rests on one. How the model does on groups of "
            "people was not measured.",
            "",
        ]
    )


def _figures_row(label: str, found: dict) -> str:
    return (
        f"| {label} | {PERCENT * found['accuracy']:.2f} | {found['auc']:.4f} | "
        f"{PERCENT * found['equal_error_rate']:.2f} | {found['pairs']} |"
    )


def _threshold_row(labels: dict[str, str], entry: dict) -> str:
    if entry["threshold"] is None:
        needed = round(10 / entry["fmr"])
        threshold = f"not supported: {entry['impostors']} impostor pairs, {needed} are needed"
    else:
        threshold = f"{entry['threshold']:.4f}"
    return f"| {labels[entry['benchmark']]} | {entry['fmr']:g} | {threshold} |"


def _teacher(teacher: dict) -> str:
    network = ", ".join(f"{key} {value}" for key, value in teacher["network"].items())
    return f"{network}, brought along (SHA-256 `{teacher['brought']}`)" if "brought" in teacher else network


def _teacher_licence(teacher: dict, data: dict, settings: dict) -> str:
    if "brought" not in teacher:
        return f"that of its training faces ({data['licence']})"
    return settings["teacher_licence"] or "not stated (teacher.licence in the configuration)"
