"""Distances between L2-normalised embeddings; all are functions of the cosine."""

import torch
from torch.nn import functional

SMALLEST = 1e-12
"""Keeps the square root's gradient finite where two embeddings coincide."""


def _squared_euclidean(cosine: torch.Tensor) -> torch.Tensor:
    return 2 - 2 * cosine


def _euclidean(cosine: torch.Tensor) -> torch.Tensor:
    return (2 - 2 * cosine).clamp_min(SMALLEST).sqrt()


def _cosine(cosine: torch.Tensor) -> torch.Tensor:
    return 1 - cosine


def _angular(cosine: torch.Tensor) -> torch.Tensor:
    return cosine.clamp(-1 + 1e-7, 1 - 1e-7).arccos()


OF_COSINE = {
    "squared_euclidean": _squared_euclidean,
    "euclidean": _euclidean,
    "cosine": _cosine,
    "angular": _angular,
}
"""Name to a function of the cosine; ``angular`` is in radians."""


def pairwise(embeddings: torch.Tensor, distance: str) -> torch.Tensor:
    """Distances of all pairs of ``embeddings`` [B, E] (normalised here): [B, B].

    Raises:
        ValueError: ``distance`` is no key of :data:`OF_COSINE`.
    """
    if distance not in OF_COSINE:
        raise ValueError(f"no distance {distance!r}: choose one of {', '.join(OF_COSINE)}")
    normalised = functional.normalize(embeddings)
    return OF_COSINE[distance](normalised @ normalised.T)
