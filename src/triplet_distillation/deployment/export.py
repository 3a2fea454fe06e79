"""A student as ONNX and as safetensors, each with all that its use needs in its metadata, and with a model card."""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.deployment.card import model_card
from triplet_distillation.deployment.model import Model
from triplet_distillation.evaluation.verification import threshold_at_fmr
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_json, read_table, whole, write_json, write_text
from triplet_distillation.logs import summary
from triplet_distillation.networks import weights
from triplet_distillation.networks.weights import INPUT, normalise_pixels

PARITY = 0.99999
"""The least cosine between ONNX Runtime's and PyTorch's embedding of one face."""
BATCHES = (1, 64)
"""Batch sizes at which the two are compared."""


class ParityError(RuntimeError):
    """The exported model does not give PyTorch's embeddings."""


def thresholds(scores: str, rates: list[float]) -> list[dict]:
    """Cosine thresholds of every benchmark at every false match rate.

    Args:
        scores: path of the model's scores (Parquet, as :mod:`triplet_distillation.evaluation.evaluate` writes them).
        rates: false match rates.

    Returns:
        ``benchmark, fmr, threshold, impostors``; the threshold is None where fewer than
        10 / rate impostor pairs support it.
    """
    table = read_table(scores)
    found = []
    for benchmark, pairs in table.groupby("benchmark", sort=False):
        impostors = pairs.score[~pairs.same].to_numpy()
        for rate in rates:
            threshold = threshold_at_fmr(impostors, rate)
            found.append({"benchmark": benchmark, "fmr": rate, "threshold": threshold, "impostors": len(impostors)})
    return found


def write_onnx(network: nn.Module, metadata: dict, opset: int, output: str | Path) -> None:
    """Write ``network`` as ONNX: input ``images`` [batch, 3, 112, 112] float32, output ``embeddings`` [batch, D].

    ``metadata`` lies in the model as JSON, one entry a key.
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
    model = program.model_proto
    del model.metadata_props[:]
    for node in [*model.graph.node, *model.graph.value_info, *model.graph.initializer]:
        del node.metadata_props[:]  # where in our source a node comes from, with paths of this machine
        node.doc_string = ""
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in sorted(metadata.items())})
    onnx.checker.check_model(model)
    with whole(output) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def parity(network: nn.Module, exported: Model, store: FaceStore, rows: np.ndarray) -> dict:
    """How ONNX Runtime's embeddings of the faces at ``rows`` compare with PyTorch's.

    Returns:
        ``faces`` and, for each of :data:`BATCHES`, ``lowest_cosine``.

    Raises:
        ParityError: a cosine is below :data:`PARITY`.
    """
    images = torch.from_numpy(np.stack([store.image(row) for row in rows])).permute(0, 3, 1, 2)
    expected = _embeddings(network, images, max(BATCHES))
    found = {"faces": len(rows), "required_cosine": PARITY, "lowest_cosine": {}}
    for size in BATCHES:
        lowest = float((expected * _embeddings(exported.network, images, size)).sum(dim=1).min())
        found["lowest_cosine"][str(size)] = lowest
        if lowest < PARITY:
            raise ParityError(f"in batches of {size} the exported model's cosine with PyTorch falls to {lowest:.6f}")
    return found


@torch.no_grad()
def _embeddings(network: nn.Module, images: torch.Tensor, batch_size: int) -> torch.Tensor:
    return torch.cat([functional.normalize(network(normalise_pixels(part))) for part in images.split(batch_size)])


def export(
    name: str,
    weights_path: str,
    scores: str,
    figures: str,
    training_store: str,
    teacher_weights: str,
    settings: dict,
    folder: str | Path,
) -> None:
    """Write ``model.onnx``, ``model.safetensors``, ``parity.json`` and ``README.md``, the model card, into ``folder``.

    Args:
        name: of the model, for readers.
        weights_path: of the student.
        scores, figures: of its evaluation.
        training_store: what it was trained on; its faces are those of the parity check.
        teacher_weights: whose metadata say where the teacher came from.
        settings: ``fmr, opset, parity_faces, mirror, title, benchmarks`` (name to label).

    Raises:
        ParityError: ONNX Runtime does not give PyTorch's embeddings.
    """
    folder = Path(folder)
    network, of_weights = weights.load(weights_path)
    store = FaceStore(training_store)
    metadata = {
        **of_weights,
        "name": name,
        "mirror": settings["mirror"],
        "embedding": {"size": network.embedding_size, "normalised": False},
        "thresholds": thresholds(scores, settings["fmr"]),
        "training_data": store.metadata,
    }
    write_onnx(network, metadata, settings["opset"], folder / "model.onnx")
    own = {key: value for key, value in metadata.items() if key not in ("network", "input")}
    weights.save(folder / "model.safetensors", network, of_weights["network"], own)
    rows = np.linspace(0, len(store) - 1, min(settings["parity_faces"], len(store))).astype(int)
    compared = parity(network, Model(folder / "model.onnx"), store, rows)
    write_json(folder / "parity.json", compared)
    teacher = weights.read_metadata(teacher_weights)
    write_text(folder / "README.md", model_card(metadata, teacher, read_json(figures), compared, settings))
    lowest = min(compared["lowest_cosine"].values())
    summary(f"{folder}: {name}, lowest cosine of ONNX Runtime with PyTorch {lowest:.7f} on {len(rows)} faces")
