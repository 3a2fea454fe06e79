"""Embeddings of the faces in a store."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.faces.store import FaceStore
from triplet_distillation.logs import progress
from triplet_distillation.networks.weights import normalise_pixels

MIRROR = ("concatenate", "add", "none")
"""How an image and its mirror image make one embedding: the paper's way, InsightFace's, without a mirror image."""


def embed(
    network: nn.Module, store: FaceStore, rows: np.ndarray, device: torch.device, batch_size: int = 64
) -> np.ndarray:
    """L2-normalised embeddings of the faces at ``rows`` and of their mirror images.

    Returns:
        [len(rows), 2, D] float32: image, mirrored image.
    """
    network = network.eval().to(device, memory_format=torch.channels_last)
    found = []
    for start in progress(range(0, len(rows), batch_size), "embed", "batch"):
        images = np.stack([store.image(row) for row in rows[start : start + batch_size]])
        found.append(embed_images(network, images, device))
    return np.concatenate(found)


@torch.no_grad()
def embed_images(network: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    """:func:`embed` of uint8 RGB images [N, 112, 112, 3], all at once, by a network that is on ``device``."""
    both = torch.from_numpy(np.concatenate([images, images[:, :, ::-1]])).permute(0, 3, 1, 2)
    embeddings = functional.normalize(network(normalise_pixels(both.to(device))))
    return embeddings.view(2, len(images), -1).transpose(0, 1).cpu().numpy()


def combine(embeddings: np.ndarray, mirror: str) -> np.ndarray:
    """One L2-normalised embedding a face from [N, 2, D]: [N, 2·D] (``concatenate``) or [N, D].

    Raises:
        ValueError: ``mirror`` is none of :data:`MIRROR`.
    """
    if mirror not in MIRROR:
        raise ValueError(f"no way {mirror!r} to use the mirror image: choose one of {', '.join(MIRROR)}")
    if mirror == "concatenate":
        combined = embeddings.reshape(len(embeddings), -1)
    else:
        combined = embeddings.sum(axis=1) if mirror == "add" else embeddings[:, 0]
    return combined / np.linalg.norm(combined, axis=1, keepdims=True)
