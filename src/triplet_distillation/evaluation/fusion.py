"""From the embeddings of an image and its flipped copy to one embedding per face."""

import numpy as np

FLIP_FUSION = ("concatenate", "add", "none")
"""How an image and its flipped copy make one embedding: as in the paper, as in InsightFace, or without the copy."""


def normalize(embeddings: np.ndarray) -> np.ndarray:
    """L2-normalized along the last axis."""
    return embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)


def fuse(embeddings: np.ndarray, flip: str) -> np.ndarray:
    """One embedding per face from those of image and flipped copy, [N, 2, D]: [N, 2·D] (``concatenate``) or [N, D].

    Raises:
        ValueError: ``flip`` is not one of :data:`FLIP_FUSION`.
    """
    if flip not in FLIP_FUSION:
        raise ValueError(f"unknown use of the flipped image {flip!r}: choose one of {', '.join(FLIP_FUSION)}")
    if flip == "concatenate":
        return embeddings.reshape(len(embeddings), -1)
    return embeddings.sum(axis=1) if flip == "add" else embeddings[:, 0]


def face_embeddings(embeddings: np.ndarray, flip: str) -> np.ndarray:
    """One L2-normalized embedding per face (§3.1 of the paper), from a network's outputs [N, 2, D], as :func:`fuse`."""
    return normalize(fuse(normalize(embeddings), flip))
