"""Apply an exported model to images: embed them, compare two."""

import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from triplet_distillation.evaluation.embed import embed_images
from triplet_distillation.evaluation.fusion import face_embeddings
from triplet_distillation.faces import align
from triplet_distillation.faces.detectors.mtcnn import MTCNNDetector
from triplet_distillation.faces.images import read_image
from triplet_distillation.faces.sources import SourceImage
from triplet_distillation.faces.sources.folder import as_text, find_images, in_words
from triplet_distillation.faces.store import NO_FACE
from triplet_distillation.networks import Network, weights
from triplet_distillation.networks.onnx_teacher import ONNXTeacher

BATCH_SIZE = 32


class Model:
    """A model written by :func:`.export.export`, as ONNX or as safetensors.

    Args:
        path: ``….onnx`` or ``….safetensors``.

    ``network`` maps normalized images to embeddings; ``metadata`` is that of the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file was not exported by this workflow.
    """

    network: Network
    metadata: dict[str, Any]

    def __init__(self, path: str | Path):
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no model at {path}")
        if path.suffix == ".onnx":
            self.network, self.metadata = _open_onnx(path)
        else:
            self.network, self.metadata = weights.load(path)
        if "flip" not in self.metadata:
            raise ValueError(
                f"{path} does not say how its embeddings are used: choose a model that the rule export wrote "
                "(snakemake export writes results/<study>/export/model.onnx)"
            )

    def embed(self, faces: np.ndarray) -> np.ndarray:
        """L2-normalized embeddings [N, D] of aligned faces, uint8 RGB [N, 112, 112, 3], computed as in the study."""
        return face_embeddings(embed_images(self.network, faces, torch.device("cpu")), self.metadata["flip"])


def _open_onnx(path: Path) -> tuple[ONNXTeacher, dict[str, Any]]:
    network = ONNXTeacher(path=str(path))
    entries = network.session.get_modelmeta().custom_metadata_map
    return network, {key: json.loads(value) for key, value in entries.items()} if "flip" in entries else {}


class Comparison(NamedTuple):
    """``score``, the cosine; ``threshold`` at false accept rate ``far`` on ``benchmark``, None if unknown."""

    score: float
    threshold: float | None
    far: float | None
    benchmark: str | None


def compare(model: Model, first: Path, second: Path, far: float | None = None) -> Comparison:
    """Align two images, embed their faces and compare them.

    Args:
        far: false accept rate of the threshold; None takes the strictest that the model has.

    Raises:
        ValueError: an image cannot be read or shows no face, or the model has no threshold at ``far``.
    """
    detector, faces = MTCNNDetector(), []
    for path in (first, second):
        image = read_image(path)
        result = align.align_face(image, detector.detect([image])[0])
        if result.detection_status == NO_FACE:
            raise ValueError(f"no face was found in {path}")
        faces.append(result.pixels)
    a, b = model.embed(np.stack(faces))
    known = [entry for entry in model.metadata["thresholds"] if entry["threshold"] is not None]
    matching = [entry for entry in known if far is None or entry["far"] == far]
    if far is not None and not matching:
        rates = ", ".join(f"{entry['far']:g}" for entry in known) or "none"
        raise ValueError(f"the model has no threshold at a false accept rate of {far:g}; it has: {rates}")
    if not matching:
        return Comparison(float(a @ b), None, None, None)
    strictest = min(matching, key=lambda entry: entry["far"])
    return Comparison(float(a @ b), strictest["threshold"], strictest["far"], strictest["benchmark"])


def embed_folder(model: Model, folder: Path) -> pd.DataFrame:
    """Embeddings of every image below ``folder``.

    Returns:
        ``path`` (relative to the folder, as the source ``folder`` writes it), ``outcome`` (one face, several faces,
        no face, unreadable),
        ``reason``, ``score`` of the detector, ``embedding`` (None if there is no face).

    Raises:
        NotADirectoryError: the folder does not exist.
        ValueError: there are no images.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder: choose one with images")
    found_images, passed_over = find_images(folder)
    images = [SourceImage(str(path.relative_to(folder)), "") for path in found_images]
    if not images:
        raise ValueError(f"{folder} has no images{in_words(passed_over, '; passed over: ')}")
    outcomes: list[tuple[str, str, str, str]] = []
    found: dict[str, tuple[float, np.ndarray]] = {}
    detected = (
        (image.path, result)
        for image, result in align.align_images(images, folder, MTCNNDetector(), BATCH_SIZE, outcomes)
        if result.detection_status != NO_FACE
    )
    while batch := list(itertools.islice(detected, BATCH_SIZE)):
        embeddings = model.embed(np.stack([result.pixels for _, result in batch]))
        found |= {path: (float(result.score), each) for (path, result), each in zip(batch, embeddings)}
    rows = [
        (as_text(Path(path)), outcome, reason, *found.get(path, (float("nan"), None)))
        for path, _, outcome, reason in outcomes
    ]
    return pd.DataFrame(rows, columns=["path", "outcome", "reason", "score", "embedding"])
