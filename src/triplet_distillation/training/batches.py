"""The batches of a training set as tensors: item t of the data set is the whole batch of step t."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from triplet_distillation.faces.store import FaceStore
from triplet_distillation.row_files import RowFile
from triplet_distillation.settings import TrainingSettings
from triplet_distillation.training import sampling


class TrainingFaces(NamedTuple):
    """What batches are made from.

    ``store``: path of the face store; ``rows`` [N]: the training set's rows in it; ``labels``
    [N]: 0 … identities − 1; ``teachers``: paths of the embeddings [faces in store, 2, D] of every teacher;
    ``in_turn``: whether the teachers follow each other during training (snapshots of one teacher), so that every batch
    has those of one.
    """

    store: str
    rows: np.ndarray
    labels: np.ndarray
    teachers: tuple[str, ...] = ()
    in_turn: bool = False


class Batch(NamedTuple):
    """``images`` uint8 RGB [this rank's slice of B, 3, 112, 112]; for the global batch, ``labels`` [B] int64 and
    the embeddings [B, D] float32 of all ``teachers``."""

    images: torch.Tensor
    labels: torch.Tensor
    teachers: tuple[torch.Tensor, ...] = ()

    def to(self, device: torch.device) -> "Batch":
        """The batch on ``device``; from pinned memory, copied to a GPU while other work goes on."""
        copies = (tensor.to(device, non_blocking=True) for tensor in (self.images, self.labels, *self.teachers))
        images, labels, *teachers = copies
        return Batch(images, labels, tuple(teachers))


class BatchDataset(Dataset):
    """Map from step to :class:`Batch`, for a loader that asks for the steps in order.

    Args:
        faces: the training set.
        sampler: which positions make up the batch of a step.
        settings: their ``iterations`` are the length; ``augmentation``.
        seed: of the run.
        rank_slice: the images of a global batch that this process reads.
    """

    def __init__(
        self,
        faces: TrainingFaces,
        sampler: sampling.Sampler,
        settings: TrainingSettings,
        seed: int,
        rank_slice: slice = slice(None),
    ):
        self.faces, self.sampler, self.settings, self.seed = faces, sampler, settings, seed
        self.rank_slice = rank_slice
        self.store = FaceStore(faces.store)
        self.teachers = [RowFile(path) for path in faces.teachers]

    def __len__(self) -> int:
        return self.settings.iterations

    def __getitem__(self, index: int) -> Batch:
        positions = self.sampler.batch(index)
        rows = self.faces.rows[positions]
        changes = self._changes(index, len(rows))
        local = zip(rows[self.rank_slice], *(each[self.rank_slice] for each in changes))
        images = np.stack([augment(self.store.image(row), *each) for row, *each in local])
        labels, teachers = self._labels_and_teachers(index, positions, changes)
        return Batch(torch.from_numpy(images).permute(0, 3, 1, 2), labels, teachers)  # channels-last, as decoded

    def without_images(self, index: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """``labels`` and ``teachers`` of a step's :class:`Batch`; no image is decoded."""
        positions = self.sampler.batch(index)
        return self._labels_and_teachers(index, positions, self._changes(index, len(positions)))

    def _labels_and_teachers(
        self, index: int, positions: np.ndarray, changes: sampling.Augmentation
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        labels = torch.from_numpy(self.faces.labels[positions].astype(np.int64))
        rows, flipped = self.faces.rows[positions], changes.flipped.astype(int)
        used = self.teachers
        if self.faces.in_turn:
            used = [used[index * len(used) // len(self)]]
        every = np.arange(len(rows))
        return labels, tuple(
            torch.from_numpy(teacher.read(rows)[every, flipped].astype(np.float32)) for teacher in used
        )

    def _changes(self, index: int, size: int) -> sampling.Augmentation:
        return sampling.draw_augmentation(self.settings.augmentation, size, self.seed, index)


def augment(image: np.ndarray, flipped: bool, shift: np.ndarray, contrast: float, brightness: float) -> np.ndarray:
    """One face [112, 112, 3] uint8: flipped, shifted (edges repeated), with contrast and brightness changed."""
    if flipped:
        image = image[:, ::-1]
    if shift.any():
        size = image.shape[0]
        border = int(np.abs(shift).max())
        padded = cv2.copyMakeBorder(
            np.ascontiguousarray(image), border, border, border, border, borderType=cv2.BORDER_REPLICATE
        )
        x, y = border + shift
        image = np.asarray(padded)[y : y + size, x : x + size]
    if contrast != 1 or brightness:
        image = (
            ((image.astype(np.float32) - 127.5) * contrast + 127.5 + brightness).round().clip(0, 255).astype(np.uint8)
        )
    return image
