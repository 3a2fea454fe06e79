"""The model card: what a model is, how it performs, and on what terms it may be used."""

from triplet_distillation.evaluation.verification import VerificationMetrics
from triplet_distillation.settings import ExportSettings

PERCENT = 100


def model_card(
    metadata: dict, teacher: dict, metrics: dict[str, VerificationMetrics], parity: dict, settings: ExportSettings
) -> str:
    """A model card in Markdown.

    Args:
        metadata: of the exported model.
        teacher: metadata of the teacher's weights.
        metrics: benchmark to the model's metrics.
        parity: the result of :func:`.export.parity`.
        settings: of the export.
    """
    data, model_input = metadata["training_data"], metadata["input"]
    size = ", ".join(map(str, model_input["input_size"]))
    return "\n".join(
        [
            f"# {metadata['name']}",
            "",
            f"A face recognition model from the study *{settings.title}* (`{metadata['study']}`, seed "
            f"{metadata['seed']}), made by the workflow of *Triplet Distillation for Deep Face Recognition*.",
            "",
            "## Use",
            "",
            f"- `model.onnx`: input `images`, [batch, 3, {size}] float32, "
            f"{model_input['color_order']}, (pixel − {model_input['pixel_mean']:g}) / {model_input['pixel_scale']:g}; "
            f"output `embeddings`, [batch, {metadata['embedding']['size']}], not normalized.",
            "- `model.safetensors`: the same weights for PyTorch.",
            f"- Align faces as in training: template {data['template']}, detector {data['detector']}.",
            f"- Image and flipped copy are fused by: {settings.flip}. Scores are cosine similarities.",
            "- Both files contain this information in their metadata.",
            "- `python -m triplet_distillation compare model.onnx A.jpg B.jpg` compares two images.",
            "",
            "## Performance",
            "",
            "| benchmark | k-fold accuracy, % | AUC | equal error rate, % | pairs |",
            "| --- | --- | --- | --- | --- |",
            *(_metrics_row(settings.benchmarks[name], found) for name, found in metrics.items()),
            "",
            "| benchmark | false accept rate | threshold |",
            "| --- | --- | --- |",
            *(_threshold_row(settings.benchmarks, entry) for entry in metadata["thresholds"]),
            "",
            f"ONNX Runtime against PyTorch on {parity['faces']} faces from all over the training data set, those of "
            "identities held out for the benchmarks included: lowest cosine "
            + ", ".join(f"{cosine:.7f} in batches of {count}" for count, cosine in parity["lowest_cosine"].items())
            + ".",
            "",
            "## Origin",
            "",
            f"- Training faces: {data['origin']}; license: {data['license']}; {data['citation']}.",
            f"- Teacher: {_teacher(teacher)}; license: {_teacher_license(teacher, data, settings)}.",
            f"- Digest of settings, data and code: `{metadata['digest']}`.",
            "",
            "## Limitations",
            "",
            "The metrics and thresholds hold for the benchmarks above and similar faces. Measure a threshold on "
            "impostor pairs of your own before you base a decision about people on it. Performance was not measured "
            "separately for demographic groups.",
            "",
        ]
    )


def _metrics_row(label: str, found: VerificationMetrics) -> str:
    accuracy = "–" if found.accuracy is None else f"{PERCENT * found.accuracy:.2f}"
    return f"| {label} | {accuracy} | {found.auc:.4f} | {PERCENT * found.equal_error_rate:.2f} | {found.pairs} |"


def _threshold_row(labels: dict[str, str], entry: dict) -> str:
    if entry["threshold"] is None:
        required = round(10 / entry["far"])
        threshold = f"not available: {entry['impostors']} impostor pairs, but {required} are required"
    else:
        threshold = f"{entry['threshold']:.4f}"
    return f"| {labels[entry['benchmark']]} | {entry['far']:g} | {threshold} |"


def _teacher(teacher: dict) -> str:
    network = ", ".join(f"{key} {value}" for key, value in teacher["network"].items())
    return f"{network}, imported (SHA-256 `{teacher['imported_sha256']}`)" if "imported_sha256" in teacher else network


def _teacher_license(teacher: dict, data: dict, settings: ExportSettings) -> str:
    if "imported_sha256" not in teacher:
        return f"that of its training faces ({data['license']})"
    return settings.teacher_license or "not stated (teacher.license in the configuration)"
