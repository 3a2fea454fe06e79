"""Export a student as ONNX and as safetensors, with everything needed to use it in the metadata, and a model card."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.deployment.card import model_card
from triplet_distillation.deployment.model import Model
from triplet_distillation.evaluation.verification import read_metrics, threshold_at_far
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import atomic_write, write_json, write_text
from triplet_distillation.logs import summary
from triplet_distillation.networks import weights
from triplet_distillation.networks.weights import INPUT, normalize_pixels
from triplet_distillation.settings import ExportSettings
from triplet_distillation.tabular import read_table

REQUIRED_COSINE = 0.99999
"""Lowest acceptable cosine between ONNX Runtime's and PyTorch's embeddings of a face."""
BATCH_SIZES = (1, 64)
"""Batch sizes at which the two are compared."""


class ParityError(RuntimeError):
    """The exported model does not reproduce PyTorch's embeddings."""


def thresholds(scores: str, fars: list[float]) -> list[dict]:
    """Cosine thresholds of every benchmark at every false accept rate.

    Args:
        scores: path of the model's scores (Parquet, written by :mod:`triplet_distillation.evaluation.evaluate`).
        fars: false accept rates.

    Returns:
        ``benchmark, far, threshold, impostors``; the threshold is None if there are fewer
        than 10 / FAR impostor pairs.
    """
    table = read_table(scores)
    found = []
    for benchmark, pairs in table.groupby("benchmark", sort=False):
        impostors = pairs.score[~pairs.same].to_numpy()
        for far in fars:
            threshold = threshold_at_far(impostors, far)
            found.append({"benchmark": benchmark, "far": far, "threshold": threshold, "impostors": len(impostors)})
    return found


def write_onnx(network: nn.Module, metadata: dict, opset: int, output: str | Path) -> None:
    """Write ``network`` as ONNX: input ``images`` [batch, 3, 112, 112] float32, output ``embeddings`` [batch, D].

    ``metadata`` is stored in the model as JSON, one entry per key.
    """
    example = torch.zeros(2, 3, *INPUT["input_size"])
    program = torch.onnx.export(
        network.eval(),
        (example,),
        input_names=["images"],
        output_names=["embeddings"],
        opset_version=opset,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("PyTorch's exporter returned no ONNX model")
    model = program.model_proto
    del model.metadata_props[:]
    for node in [*model.graph.node, *model.graph.value_info, *model.graph.initializer]:
        del node.metadata_props[:]  # the location in the source code, with paths of this machine
        node.doc_string = ""
    onnx.helper.set_model_props(
        model, {key: json.dumps(value, allow_nan=False) for key, value in sorted(metadata.items())}
    )
    onnx.checker.check_model(model)
    with atomic_write(output) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def parity(network: nn.Module, exported: Model, store: FaceStore, rows: np.ndarray) -> dict[str, Any]:
    """Compare ONNX Runtime's embeddings of the faces at ``rows`` with PyTorch's.

    Returns:
        ``faces`` and, for each batch size in :data:`BATCH_SIZES`, the ``lowest_cosine``.

    Raises:
        ParityError: a cosine is below :data:`REQUIRED_COSINE`.
    """
    images = torch.from_numpy(np.stack([store.image(row) for row in rows])).permute(0, 3, 1, 2)
    expected = _embeddings(network, images, max(BATCH_SIZES))
    found: dict[str, Any] = {"faces": len(rows), "required_cosine": REQUIRED_COSINE, "lowest_cosine": {}}
    for size in BATCH_SIZES:
        lowest = float((expected * _embeddings(exported.network, images, size)).sum(dim=1).min())
        found["lowest_cosine"][str(size)] = lowest
        if not lowest >= REQUIRED_COSINE:  # NaN is not
            raise ParityError(f"in batches of {size}, the exported model's lowest cosine with PyTorch is {lowest:.6f}")
    return found


@torch.no_grad()
def _embeddings(network: nn.Module, images: torch.Tensor, batch_size: int) -> torch.Tensor:
    return torch.cat([functional.normalize(network(normalize_pixels(part))) for part in images.split(batch_size)])


class StudentFiles(NamedTuple):
    """Paths of what an export reads: ``weights``, ``scores`` and ``metrics`` of the student, the ``store`` that it was
    trained on, whose faces serve for the parity check, and the ``teacher``'s weights, for their origin."""

    weights: str
    scores: str
    metrics: str
    store: str
    teacher: str


def export(name: str, student: StudentFiles, settings: ExportSettings, folder: str | Path) -> None:
    """Write ``model.onnx``, ``model.safetensors``, ``parity.json`` and ``README.md``, the model card, to ``folder``.

    Args:
        name: display name of the model.
        student: inputs.
        settings: of the export.
        folder: output.

    Raises:
        ParityError: ONNX Runtime does not reproduce PyTorch's embeddings.
    """
    folder = Path(folder)
    network, weights_metadata = weights.load(student.weights)
    store = FaceStore(student.store)
    metadata = {
        **weights_metadata,
        "name": name,
        "study": settings.study,
        "flip": settings.flip,
        "embedding": {"size": network.embedding_size, "normalized": False},
        "thresholds": thresholds(student.scores, settings.far),
        "training_data": store.metadata,
    }
    write_onnx(network, metadata, settings.opset, folder / "model.onnx")
    provenance = {key: value for key, value in metadata.items() if key not in ("network", "input")}
    weights.save(folder / "model.safetensors", network, weights_metadata["network"], provenance)
    rows = np.linspace(0, len(store) - 1, min(settings.parity_faces, len(store))).astype(int)
    compared = parity(network, Model(folder / "model.onnx"), store, rows)
    write_json(folder / "parity.json", compared)
    teacher = weights.read_metadata(student.teacher)
    write_text(folder / "README.md", model_card(metadata, teacher, read_metrics(student.metrics), compared, settings))
    lowest = min(compared["lowest_cosine"].values())
    summary(f"{folder}: {name}; lowest cosine between ONNX Runtime and PyTorch {lowest:.7f} on {len(rows)} faces")
