"""What a method is told from files, and what remains of it in one: its class centers and other state."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from triplet_distillation.files import atomic_write, read_json
from triplet_distillation.logs import summary
from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.networks.finite import invalid_tensors
from triplet_distillation.networks.weights import METADATA
from triplet_distillation.provenance import library_versions
from triplet_distillation.row_files import RowFile
from triplet_distillation.settings import MethodFiles
from triplet_distillation.tabular import read_table
from triplet_distillation.training.calibration import calibrated_margins, check_cached_embeddings
from triplet_distillation.training.guards import TrainingError

CLASS_CENTERS = "class_centers"
"""Tensor [identities, D] in the files of centers: a classifier's, or the means of embeddings."""
CHUNK = 10_000
"""Faces whose embeddings are in memory at the same time."""


def loss_context(files: MethodFiles, num_identities: int, embedding_size: int, iterations: int) -> LossContext:
    """What a method is told before the first step.

    Args:
        files: what it requires.
        num_identities, embedding_size, iterations: as in :class:`.losses.LossContext`.

    Raises:
        TrainingError: a file has centers of another number of classes, or with NaN or infinity.
    """
    return LossContext(
        num_identities,
        embedding_size,
        iterations,
        tuple(RowFile(teacher.embeddings).shape[2] for teacher in files.teachers),
        **calibrated_margins(files.margins),
        class_means=_centers(files.class_means, num_identities),
        class_centers=_centers(files.class_centers, num_identities),
        student_centers=_centers(files.student_centers, num_identities),
        matched_margin=read_json(files.matched_margin)["margin"] if files.matched_margin else None,
    )


def _centers(path: str | None, num_identities: int) -> torch.Tensor | None:
    if not path:
        return None
    found = load_file(path).get(CLASS_CENTERS)
    if found is None or len(found) != num_identities:
        number = "none" if found is None else str(len(found))
        raise TrainingError(
            f"{path}: expected class centers of the {num_identities} identities of the training set, found {number}: "
            "delete the file and run again to recreate it"
        )
    if problem := invalid_tensors({CLASS_CENTERS: found}):
        raise TrainingError(f"{path}: {problem}: delete the file and run again, or train the teacher again")
    return found


def write_loss_state(path: str | Path, criterion: Loss, provenance: dict) -> None:
    """Write a loss's parameters and persistent buffers (class centers, a projection) as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in criterion.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(
            tensors, temporary, {METADATA: json.dumps({**provenance, "libraries": library_versions()}, sort_keys=True)}
        )


def write_class_means(training_set: str, teacher_embeddings: str, output: str) -> None:
    """Write the normalized mean of a teacher's embeddings of every identity, images and flipped copies alike.

    Args:
        training_set: path of the table ``row, label``.
        teacher_embeddings: path of [faces in store, 2, D].
        output: safetensors with :data:`CLASS_CENTERS` [identities, D] float32.

    Raises:
        ValueError: an embedding contains NaN or infinity, or is zero.
    """
    faces = read_table(training_set)
    rows, labels = faces.row.to_numpy(), faces.label.to_numpy()
    embeddings = RowFile(teacher_embeddings)
    sums = np.zeros((labels.max() + 1, embeddings.shape[2]))
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        chunk = embeddings.read(rows[part])
        check_cached_embeddings(chunk, teacher_embeddings, rows[part])
        np.add.at(sums, labels[part], chunk.sum(axis=1, dtype=np.float64))
    means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    metadata = {METADATA: json.dumps({"libraries": library_versions()}, sort_keys=True)}
    with atomic_write(output) as temporary:
        save_file({CLASS_CENTERS: torch.from_numpy(means.astype(np.float32))}, temporary, metadata)
    summary(f"mean teacher embeddings of {len(means)} identities")
