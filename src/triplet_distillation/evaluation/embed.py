"""Embeddings of the faces in a store."""

import functools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from triplet_distillation.embeddings import check_embeddings
from triplet_distillation.evaluation.kept_embeddings import KeptEmbeddings
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.logs import progress, summary
from triplet_distillation.networks import weights
from triplet_distillation.networks.execution import setup_device
from triplet_distillation.networks.weights import normalize_pixels
from triplet_distillation.settings import ExecutionSettings
from triplet_distillation.tabular import read_table

BATCH_SIZE = 64
"""Faces that a network embeds at once; as many flipped copies go with them."""
DECODED_AHEAD = 4
"""Batches whose images are decoded while another one is embedded."""


def embed(
    network: nn.Module,
    store: FaceStore,
    rows: np.ndarray,
    device: torch.device,
    batch_size: int = BATCH_SIZE,
    model: str = "the network",
) -> np.ndarray:
    """Outputs of ``network`` for the faces at ``rows`` and their flipped copies, not normalized.

    Args:
        model: the network's name and file, for the message.

    Returns:
        [len(rows), 2, D] float32: image, flipped image.

    Raises:
        ValueError: an embedding cannot be normalized; the message names the model and the first such face.
    """
    batches = embed_batches(network, store, rows, device, batch_size, model)
    first = next(batches)
    # Not a list of batches: small arrays between those of the images keep the memory of all of them in use.
    embeddings = np.empty((len(rows), *first.shape[1:]), first.dtype)
    embeddings[: len(first)] = first
    start = len(first)
    for batch in batches:
        embeddings[start : start + len(batch)] = batch
        start += len(batch)
    return embeddings


def embed_batches(
    network: nn.Module, store: FaceStore, rows: np.ndarray, device: torch.device, batch_size: int, model: str
) -> Iterator[np.ndarray]:
    """:func:`embed` batch by batch, [B, 2, D]; the images of the next ones are decoded meanwhile."""
    network = network.eval().to(device, memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]  PyTorch's stub lacks memory_format
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    with ThreadPoolExecutor(torch.get_num_threads()) as decoders:
        ahead = deque(decoders.submit(_decode, store, batch) for batch in batches[:DECODED_AHEAD])
        for number, batch in enumerate(progress(batches, "embed", "batch"), start=DECODED_AHEAD):
            found = embed_images(network, ahead.popleft().result(), device)
            if number < len(batches):
                ahead.append(decoders.submit(_decode, store, batches[number]))
            check_embeddings(found, model, functools.partial(_name_face, store, batch))
            yield found


def _decode(store: FaceStore, rows: np.ndarray) -> np.ndarray:
    """The faces at ``rows``, uint8 RGB [B, 112, 112, 3]."""
    return np.stack([store.image(row) for row in rows])


def _name_face(store: FaceStore, rows: np.ndarray, index: int) -> str:
    return f"face {rows[index]} of {store.path} ({store.value('source', rows[index])})"


@torch.no_grad()
def embed_images(network: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    """:func:`embed` for uint8 RGB images [N, 112, 112, 3] in one batch, with a network that is on ``device``."""
    both = torch.from_numpy(np.concatenate([images, images[:, :, ::-1]])).permute(0, 3, 1, 2)
    embeddings = network(normalize_pixels(both.to(device)))
    return embeddings.view(2, len(images), -1).transpose(0, 1).cpu().numpy()


def embed_test_faces(
    weights_path: str, store_path: str, tested: list[str], execution: ExecutionSettings, output: str
) -> None:
    """Embed, for :class:`.kept_embeddings.KeptEmbeddings`, the test faces of all benchmarks on one store.

    Args:
        tested: paths of the tables of test faces (``row``).
        output: path of the embeddings.

    Raises:
        ValueError: the weights are not finite, or an embedding cannot be normalized.
    """
    device = setup_device(execution)
    network, metadata = weights.load(weights_path)
    store = FaceStore(store_path)
    rows = np.unique(np.concatenate([read_table(path).row for path in tested]))
    embeddings = embed(network, store, rows, device, model=weights.describe(metadata, weights_path))
    KeptEmbeddings(rows, embeddings).write(output)
    summary(f"{weights_path}: {len(rows)} test faces × 2 × {embeddings.shape[2]}")
