"""An exported model on photographs: embed them, compare two."""

import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from triplet_distillation.evaluation.embed import combine, embed_images
from triplet_distillation.faces import align
from triplet_distillation.faces.detectors.mtcnn import Detector
from triplet_distillation.faces.photographs import read_photograph
from triplet_distillation.faces.sources import Photograph
from triplet_distillation.faces.sources.folder import photographs_in
from triplet_distillation.faces.store import NO_FACE
from triplet_distillation.networks import weights
from triplet_distillation.networks.onnx_teacher import Network as OnnxNetwork

BATCH_SIZE = 32


class Model:
    """A model that :func:`.export.export` wrote, as ONNX or as safetensors.

    Args:
        path: ``….onnx`` or ``….safetensors``.

    ``network`` maps normalised images to embeddings, ``metadata`` is what the file says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file was not exported by this workflow.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no model at {path}")
        if path.suffix == ".onnx":
            self.network = OnnxNetwork(path=str(path))
            written = self.network.session.get_modelmeta().custom_metadata_map
            self.metadata = {key: json.loads(value) for key, value in written.items()} if "mirror" in written else {}
        else:
            self.network, self.metadata = weights.load(path)
        if "mirror" not in self.metadata:
            raise ValueError(
                f"{path} does not say how its embeddings are used: take a model that the rule export wrote "
                "(snakemake export makes results/<study>/export/model.onnx)"
            )

    def embed(self, faces: np.ndarray) -> np.ndarray:
        """L2-normalised embeddings [N, D] of aligned faces, uint8 RGB [N, 112, 112, 3], as the study made its own."""
        return combine(embed_images(self.network, faces, torch.device("cpu")), self.metadata["mirror"])


class Comparison(NamedTuple):
    """``score``, the cosine; ``threshold`` at false match rate ``fmr`` on ``benchmark``, None where none is known."""

    score: float
    threshold: float | None
    fmr: float | None
    benchmark: str | None


def compare(model: Model, first: Path, second: Path, fmr: float | None = None) -> Comparison:
    """Align two photographs, embed their faces and compare them.

    Args:
        fmr: the false match rate whose threshold is wanted; None takes the strictest that the model knows.

    Raises:
        ValueError: a photograph cannot be read or shows no face, or the model knows no threshold at ``fmr``.
    """
    detector, faces = Detector(), []
    for path in (first, second):
        photograph = read_photograph(path)
        aligned = align.align(photograph, detector.detect([photograph])[0])
        if aligned.flag == NO_FACE:
            raise ValueError(f"no face was found in {path}")
        faces.append(aligned.face)
    a, b = model.embed(np.stack(faces))
    known = [entry for entry in model.metadata["thresholds"] if entry["threshold"] is not None]
    wanted = [entry for entry in known if fmr is None or entry["fmr"] == fmr]
    if fmr is not None and not wanted:
        rates = ", ".join(f"{entry['fmr']:g}" for entry in known) or "none"
        raise ValueError(f"the model has no threshold at a false match rate of {fmr:g}; it has: {rates}")
    if not wanted:
        return Comparison(float(a @ b), None, None, None)
    strictest = min(wanted, key=lambda entry: entry["fmr"])
    return Comparison(float(a @ b), strictest["threshold"], strictest["fmr"], strictest["benchmark"])


def embed_folder(model: Model, folder: Path) -> pd.DataFrame:
    """Embeddings of every photograph below ``folder``.

    Returns:
        ``path`` (below the folder), ``outcome`` (one face, several faces, no face, unreadable),
        ``reason``, ``score`` of the detector, ``embedding`` (None where there is no face).

    Raises:
        ValueError: there is no photograph.
    """
    photographs = [Photograph(str(path.relative_to(folder)), "") for path in photographs_in(folder, "**/*")]
    if not photographs:
        raise ValueError(f"{folder} has no photographs")
    outcomes, found = [], []
    with_faces = (
        (photograph.path, aligned)
        for photograph, aligned in align.aligned_photographs(photographs, folder, Detector(), BATCH_SIZE, outcomes)
        if aligned.flag != NO_FACE
    )
    while batch := list(itertools.islice(with_faces, BATCH_SIZE)):
        embeddings = model.embed(np.stack([aligned.face for _, aligned in batch]))
        found += [(path, float(aligned.score), each) for (path, aligned), each in zip(batch, embeddings)]
    table = pd.DataFrame(outcomes, columns=["path", "identity", "outcome", "reason"]).drop(columns="identity")
    return table.merge(pd.DataFrame(found, columns=["path", "score", "embedding"]), on="path", how="left")
