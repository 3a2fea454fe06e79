"""Calibration from files to files."""

import numpy as np

from triplet_distillation.files import read_table, write_json, write_table
from triplet_distillation.logs import summary
from triplet_distillation.training import calibration


def write_calibration(
    training_set: str, teacher_embeddings: str, settings: dict, distance: str, seed: int, margins: str, triplets: str
) -> None:
    """Draw triplets of the training set, measure their d with the teacher, and write the margins.

    Args:
        training_set: path of the table ``row, label``.
        teacher_embeddings: path of [faces in store, 2, D].
        settings: ``triplets, mode, quantiles``.
        distance: T, in which d is measured.
        seed: of the draw.
        margins: JSON of :func:`.calibration.margins`.
        triplets: CSV of :func:`.calibration.measure`.
    """
    faces = read_table(training_set)
    teacher = np.load(teacher_embeddings, mmap_mode="r")[faces.row.to_numpy(), 0]
    drawn = calibration.draw_triplets(faces.label.to_numpy(), settings["triplets"], seed)
    measured = calibration.measure(teacher, drawn, distance)
    found = calibration.margins(measured.d.to_numpy(), settings["mode"], settings["quantiles"])
    write_json(margins, found)
    write_table(triplets, measured)
    summary(f"margins from {len(drawn)} triplets: {found['minimum_margin']:.3f} … {found['maximum_margin']:.3f}")
