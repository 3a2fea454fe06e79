"""Distances between L2-normalized embeddings; all are functions of the cosine."""

import torch
from torch.nn import functional

from triplet_distillation.losses.functions import arc_cosine, square_root

EPSILON = 1e-12
"""Keeps the gradient of the square root finite where two embeddings coincide."""


def _squared_euclidean(cosine: torch.Tensor) -> torch.Tensor:
    return 2 - 2 * cosine


def _euclidean(cosine: torch.Tensor) -> torch.Tensor:
    return square_root((2 - 2 * cosine).clamp_min(EPSILON))


def _cosine(cosine: torch.Tensor) -> torch.Tensor:
    return 1 - cosine


def _angular(cosine: torch.Tensor) -> torch.Tensor:
    return arc_cosine(cosine.clamp(-1 + 1e-7, 1 - 1e-7))


DISTANCES = {
    "squared_euclidean": _squared_euclidean,
    "euclidean": _euclidean,
    "cosine": _cosine,
    "angular": _angular,
}
"""Name to a function of the cosine; ``angular`` is in radians."""


def pairwise_distances(embeddings: torch.Tensor, distance: str) -> torch.Tensor:
    """Distances between all pairs of ``embeddings`` [B, E] (normalized here): [B, B].

    Raises:
        ValueError: ``distance`` is not a key of :data:`DISTANCES`.
    """
    if distance not in DISTANCES:
        raise ValueError(f"unknown distance {distance!r}: choose one of {', '.join(DISTANCES)}")
    normalized = functional.normalize(embeddings)
    return DISTANCES[distance](normalized @ normalized.T)
