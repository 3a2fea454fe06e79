"""Embeddings that cannot be normalized: found where they arise and where they come in.

An embedding is divided by its length, so that one of length zero becomes NaN, and one whose squares overflow zero. A
module of its own, without PyTorch, which takes some 200 MB: a calibration reads a thousand embeddings.
"""

from collections.abc import Callable

import numpy as np

VIEWS = ("", "the flipped copy of ")
"""What the embeddings of a face are of, in their order."""


def invalid_embeddings(embeddings: np.ndarray) -> np.ndarray:
    """Which embeddings [..., D] cannot be normalized, [...] bool: their length is zero or not finite."""
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(embeddings, axis=-1)
    return ~(np.isfinite(lengths) & (lengths > 0))


def check_embeddings(embeddings: np.ndarray, origin: str, face: Callable[[int], str], remedy: str = "") -> None:
    """Embeddings must have a direction.

    Args:
        embeddings: [N, 2, D] of image and flipped image, or [N, 1, D] of the image alone.
        origin: the model and its file, which the message starts with.
        face: name of face i, 0 … N − 1.
        remedy: what the message ends with; by default, what to do about finite weights.

    Raises:
        ValueError: an embedding contains NaN or infinity, or its length is zero; the message names the first face.
    """
    wrong = np.argwhere(invalid_embeddings(embeddings))
    if len(wrong):
        index, view = wrong[0]
        problem = _problem(embeddings[index, view])
        raise ValueError(
            f"{origin}: the embedding of {VIEWS[view]}{face(int(index))} {problem} (first of {len(wrong)} in "
            f"{len(embeddings)} faces): {remedy or _remedy(problem)}"
        )


def _problem(embedding: np.ndarray) -> str:
    if np.isnan(embedding).any():
        return "contains NaN"
    if np.isinf(embedding).any():
        return "contains infinity"
    return "is too long or too short to be normalized" if embedding.any() else "is zero"


def _remedy(problem: str) -> str:
    if problem == "is zero":
        return "the model answers nothing on this face, look at the image, or choose other weights"
    return (
        "the weights are finite, so numbers overflow inside the model (one in fp16?, pixel_mean and pixel_scale of "
        "another model?): look at the image, correct the network's settings, or choose other weights"
    )
