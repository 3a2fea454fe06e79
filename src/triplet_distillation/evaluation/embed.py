"""Embeddings of the faces in a store."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.faces.store import FaceStore
from triplet_distillation.logs import progress
from triplet_distillation.networks.weights import normalize_pixels

FLIP_FUSION = ("concatenate", "add", "none")
"""How an image and its flipped copy make one embedding: as in the paper, as in InsightFace, or without the copy."""


def embed(
    network: nn.Module, store: FaceStore, rows: np.ndarray, device: torch.device, batch_size: int = 64
) -> np.ndarray:
    """L2-normalized embeddings of the faces at ``rows`` and of their flipped copies.

    Returns:
        [len(rows), 2, D] float32: image, flipped image.
    """
    network = network.eval().to(device, memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]  PyTorch's stub lacks memory_format
    embeddings = []
    for start in progress(range(0, len(rows), batch_size), "embed", "batch"):
        images = np.stack([store.image(row) for row in rows[start : start + batch_size]])
        embeddings.append(embed_images(network, images, device))
    return np.concatenate(embeddings)


@torch.no_grad()
def embed_images(network: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    """:func:`embed` for uint8 RGB images [N, 112, 112, 3] in one batch, with a network that is on ``device``."""
    both = torch.from_numpy(np.concatenate([images, images[:, :, ::-1]])).permute(0, 3, 1, 2)
    embeddings = functional.normalize(network(normalize_pixels(both.to(device))))
    return embeddings.view(2, len(images), -1).transpose(0, 1).cpu().numpy()


def fuse(embeddings: np.ndarray, flip: str) -> np.ndarray:
    """One L2-normalized embedding per face from [N, 2, D]: [N, 2·D] (``concatenate``) or [N, D].

    Raises:
        ValueError: ``flip`` is not one of :data:`FLIP_FUSION`.
    """
    if flip not in FLIP_FUSION:
        raise ValueError(f"unknown use of the flipped image {flip!r}: choose one of {', '.join(FLIP_FUSION)}")
    if flip == "concatenate":
        fused = embeddings.reshape(len(embeddings), -1)
    else:
        fused = embeddings.sum(axis=1) if flip == "add" else embeddings[:, 0]
    return fused / np.linalg.norm(fused, axis=1, keepdims=True)
