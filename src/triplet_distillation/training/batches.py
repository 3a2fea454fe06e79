"""A training set's batches as tensors: item t of the data set is the whole batch of step t."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from triplet_distillation.faces.store import FaceStore
from triplet_distillation.training import sampling


class Batch(NamedTuple):
    """``images`` uint8 RGB [share of B, 3, 112, 112]; of the whole batch, ``labels`` [B] int64 and ``teacher``
    [B, D] float32 or None."""

    images: torch.Tensor
    labels: torch.Tensor
    teacher: torch.Tensor | None


class Batches(Dataset):
    """Map from step to :class:`Batch`, for a loader that asks for steps in order.

    Args:
        store: path of the face store.
        rows: the training set's rows in the store, [N].
        labels: the training set's labels 0 … classes − 1, [N].
        sampler: which positions make up a step's batch.
        settings: ``iterations``, the length, and ``augmentation`` (:func:`.sampling.augmentation`).
        seed: of the run.
        share: of a batch's images that this process reads.
        teacher: path of the teacher's embeddings [faces in store, 2, D], or None.
    """

    def __init__(self, store, rows, labels, sampler, settings: dict, seed: int, share=slice(None), teacher=None):
        self.store = FaceStore(store)
        self.rows, self.labels, self.sampler = np.asarray(rows), np.asarray(labels), sampler
        self.settings, self.seed, self.share = settings, seed, share
        self.teacher = None if teacher is None else np.load(teacher, mmap_mode="r")

    def __len__(self) -> int:
        return self.settings["iterations"]

    def __getitem__(self, step: int) -> Batch:
        positions = self.sampler.batch(step)
        rows = self.rows[positions]
        changes = sampling.augmentation(self.settings["augmentation"], len(rows), self.seed, step)
        own = zip(rows[self.share], *(each[self.share] for each in changes))
        images = np.stack([change(self.store.image(row), *each) for row, *each in own])
        teacher = None
        if self.teacher is not None:
            teacher = torch.from_numpy(self.teacher[rows, changes.mirrored.astype(int)].astype(np.float32))
        return Batch(
            torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(self.labels[positions].astype(np.int64)),
            teacher,
        )


def change(image: np.ndarray, mirrored: bool, shift: np.ndarray, contrast: float, brightness: float) -> np.ndarray:
    """One face [112, 112, 3] uint8 mirrored, shifted (edges repeated), with its grey levels changed."""
    if mirrored:
        image = image[:, ::-1]
    if shift.any():
        size = image.shape[0]
        inset = int(np.abs(shift).max())
        padded = cv2.copyMakeBorder(np.ascontiguousarray(image), *[inset] * 4, cv2.BORDER_REPLICATE)
        x, y = inset + shift
        image = padded[y : y + size, x : x + size]
    if contrast != 1 or brightness:
        image = (
            ((image.astype(np.float32) - 127.5) * contrast + 127.5 + brightness).round().clip(0, 255).astype(np.uint8)
        )
    return image
