"""Apply an exported model to images: embed them, compare two."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from triplet_distillation.embeddings import check_embeddings
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

    ``network`` maps normalized images to embeddings; ``metadata`` is that of the file at ``path``.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file was not exported by this workflow, or is damaged.
    """

    network: Network
    metadata: dict[str, Any]

    def __init__(self, path: str | Path):
        self.path = path = Path(path)
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

    def embed(self, faces: np.ndarray, names: Sequence[str] = ()) -> np.ndarray:
        """L2-normalized embeddings [N, D] of aligned faces, uint8 RGB [N, 112, 112, 3], computed as in the study.

        Args:
            names: of the faces, such as the paths of their images, for the message.

        Raises:
            ValueError: the model's answer to a face cannot be normalized: it contains NaN, or is zero.
        """
        embeddings = embed_images(self.network, faces, torch.device("cpu"))
        model = weights.describe(self.metadata, self.path)
        check_embeddings(embeddings, model, lambda index: names[index] if names else f"face {index}")
        return face_embeddings(embeddings, self.metadata["flip"])


def _open_onnx(path: Path) -> tuple[ONNXTeacher, dict[str, Any]]:
    network = ONNXTeacher(path=str(path))
    entries = network.session.get_modelmeta().custom_metadata_map
    return network, {key: json.loads(value) for key, value in entries.items()} if "flip" in entries else {}


class Comparison(NamedTuple):
    """``score``, the cosine; ``threshold`` at false accept rate ``far`` on ``benchmark``, None if unknown; ``notes`` on
    images with several faces, and on why there is no threshold."""

    score: float
    threshold: float | None
    far: float | None
    benchmark: str | None
    notes: tuple[str, ...] = ()


def compare(
    model: Model, first: Path, second: Path, far: float | None = None, benchmark: str | None = None
) -> Comparison:
    """Align two images, embed their faces and compare them.

    Args:
        far: false accept rate of the threshold; None takes the strictest that the model has.
        benchmark: whose threshold to take; None takes the highest of all benchmarks at that rate.

    Raises:
        ValueError: an image cannot be read or shows no face, or the model has no such threshold.
    """
    chosen = choose_threshold(model.metadata.get("thresholds", []), far, benchmark)
    detector, faces, notes = MTCNNDetector(), [], []
    for path in (first, second):
        image = _read(path)
        detections = detector.detect([image])[0]
        result = align.align_face(image, detections)
        if result.detection_status == NO_FACE:
            raise ValueError(f"no face was found in {path}")
        if len(detections) > 1:
            left, top, right, bottom = (round(float(edge)) for edge in align.choose(detections, *image.shape[:2]).box)
            notes.append(
                f"{path} shows {len(detections)} faces: the one between ({left}, {top}) and ({right}, {bottom}) was "
                "taken, for its size and place; crop the image if another one is meant"
            )
        faces.append(result.pixels)
    a, b = model.embed(np.stack(faces), [str(first), str(second)])
    score = float(a @ b)
    if chosen is None:
        if model.metadata.get("thresholds"):
            notes.append(
                "no benchmark of the model has enough impostor pairs for a threshold; README.md beside the model says "
                "how many are required"
            )
        return Comparison(score, None, None, None, tuple(notes))
    return Comparison(score, chosen["threshold"], chosen["far"], chosen["benchmark"], tuple(notes))


def choose_threshold(thresholds: list[dict], far: float | None, benchmark: str | None) -> dict | None:
    """The entry of a model's thresholds (:func:`.export.thresholds`) that decides.

    Easy impostors have lower scores than difficult ones, so that of several benchmarks at the same rate, the one with
    the highest threshold is the safe choice.

    Args:
        far, benchmark: as for :func:`compare`.

    Returns:
        None if neither is given and the model has no thresholds.

    Raises:
        ValueError: there is no such threshold; the message lists those that there are.
    """
    benchmarks = list(dict.fromkeys(entry["benchmark"] for entry in thresholds))
    if benchmark is not None and benchmark not in benchmarks:
        known = ", ".join(benchmarks) or "none"
        raise ValueError(f"the model has no thresholds on a benchmark {benchmark!r}; its benchmarks are: {known}")
    known = [
        entry for entry in thresholds if entry["threshold"] is not None and benchmark in (None, entry["benchmark"])
    ]
    matching = [entry for entry in known if far in (None, entry["far"])]
    if matching:
        return max(matching, key=lambda entry: (-entry["far"], entry["threshold"]))
    if far is None and benchmark is None:
        return None
    rate = "" if far is None else f" at a false accept rate of {far:g}"
    place = "" if benchmark is None else f" on {benchmark}"
    rates = ", ".join(f"{each:g}" for each in dict.fromkeys(entry["far"] for entry in known)) or "none"
    raise ValueError(f"the model has no threshold{rate}{place}; it has: {rates}")


def _read(path: Path) -> np.ndarray:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name an image, or use embed")
    try:
        return read_image(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def embed_folder(model: Model, folder: Path) -> pd.DataFrame:
    """Embeddings of every image below ``folder``.

    Returns:
        ``path`` (relative to the folder, as the source ``folder`` writes it), ``outcome`` (one face, several faces,
        no face, unreadable), ``reason``, ``score`` of the detector, ``embedding`` (None if there is no face).

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
        names = [as_text(Path(path)) for path, _ in batch]
        embeddings = model.embed(np.stack([result.pixels for _, result in batch]), names)
        found |= {path: (float(result.score), each) for (path, result), each in zip(batch, embeddings)}
    rows = [
        (as_text(Path(path)), outcome, reason, *found.get(path, (float("nan"), None)))
        for path, _, outcome, reason in outcomes
    ]
    return pd.DataFrame(rows, columns=["path", "outcome", "reason", "score", "embedding"])
