"""Calibration (§4.1): m_min and m_max from the teacher's distances in 1000 random triplets."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.embeddings import check_embeddings
from triplet_distillation.files import read_json, write_json
from triplet_distillation.logs import summary
from triplet_distillation.provenance import library_versions
from triplet_distillation.row_files import RowFile
from triplet_distillation.settings import CalibrationSettings
from triplet_distillation.tabular import read_blocks, write_table
from triplet_distillation.training import sampling

PAPER_MARGINS = (0.2, 0.5)
"""m_min and m_max in the paper."""


def _euclidean(cosine: np.ndarray) -> np.ndarray:
    square = np.maximum(2 - 2 * cosine, 1e-12).astype(np.float64)
    return (square * (1 / np.sqrt(square))).astype(cosine.dtype)


def _angular(cosine: np.ndarray) -> np.ndarray:
    import torch  # the bits of its atan2 are not NumPy's

    from triplet_distillation.losses.distances import DISTANCES

    return DISTANCES["angular"](torch.from_numpy(cosine)).numpy()


TEACHER_DISTANCES = {
    "squared_euclidean": lambda cosine: 2 - 2 * cosine,
    "euclidean": _euclidean,
    "cosine": lambda cosine: 1 - cosine,
    "angular": _angular,
}
"""Those of :mod:`.distances` with the same bits, as far as possible without PyTorch, which takes four times as much
memory as the rest of a calibration."""


def draw_triplets(labels: np.ndarray, num_triplets: int, seed: int) -> np.ndarray:
    """Draw random triplets: the anchor uniformly from the images of identities with two or more, the positive
    uniformly from the identity's other images, the negative uniformly from all images of other identities.

    Args:
        labels: of every image of the training set, [N].

    Returns:
        Positions [num_triplets, 3] in the training set: anchor, positive, negative.

    Raises:
        ValueError: no identity has two images, or there is only one identity.
    """
    counts = np.unique(labels, return_counts=True)[1]
    return np.argsort(labels, kind="stable")[_draw_places(counts, num_triplets, seed)]


def _draw_places(counts: np.ndarray, num_triplets: int, seed: int) -> np.ndarray:
    """:func:`draw_triplets` from the number of images of every identity alone: places [num_triplets, 3] among all
    images, identity by identity."""
    random = sampling.generator(seed, "calibration")
    first = np.cumsum(counts) - counts
    repeated = np.flatnonzero(counts > 1)
    if not len(repeated) or len(counts) < 2:
        raise ValueError("calibration needs at least two identities, one of them with two images")
    ends = np.cumsum(counts[repeated])
    drawn = random.integers(0, ends[-1], num_triplets)
    which = np.searchsorted(ends, drawn, side="right")
    identity = repeated[which]
    first, count = first[identity], counts[identity]
    anchor = first + drawn - (ends[which] - count)
    positive = first + random.integers(0, count - 1)
    positive += positive >= anchor
    negative = random.integers(0, counts.sum() - count)
    negative += count * (negative >= first)
    return np.stack([anchor, positive, negative], axis=1)


class DrawnFaces(NamedTuple):
    """``triplets`` [M, 3]: positions in the training set; ``positions`` [F], ascending, of the faces in them; ``rows``
    [F] of the store."""

    triplets: np.ndarray
    positions: np.ndarray
    rows: np.ndarray


def draw_faces(training_set: str, num_triplets: int, seed: int) -> DrawnFaces:
    """:func:`draw_triplets` from a training set (Parquet: ``row, label``), of which a part is in memory at a time."""
    counts = np.zeros(0, np.int64)
    for block in read_blocks(training_set, ("label",)):
        found = np.bincount(block["label"], minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    places = _draw_places(counts, num_triplets, seed)
    needed, inverse = np.unique(places, return_inverse=True)
    positions, rows = np.empty_like(needed), np.empty_like(needed)
    next_place, start = np.cumsum(counts) - counts, 0
    for block in read_blocks(training_set, ("row", "label")):
        order = np.argsort(block["label"], kind="stable")
        labels = block["label"][order]
        identities, begins, numbers = np.unique(labels, return_index=True, return_counts=True)
        here = np.arange(len(labels)) + np.repeat(next_place[identities] - begins, numbers)
        next_place[identities] += numbers
        which = np.searchsorted(needed, here).clip(max=len(needed) - 1)
        found = needed[which] == here
        positions[which[found]], rows[which[found]] = start + order[found], block["row"][order[found]]
        start += len(labels)
    ascending = np.argsort(positions)
    return DrawnFaces(positions[inverse.reshape(places.shape)], positions[ascending], rows[ascending])


def measure(teacher: np.ndarray, triplets: np.ndarray, distance: str) -> pd.DataFrame:
    """T(a,p), T(a,n) and d = max(T(a,n) − T(a,p), 0) (Eq. 3) of every triplet.

    Args:
        teacher: L2-normalized embeddings of the training set, [N, D].
        triplets: [M, 3] positions of anchor, positive, negative.
        distance: a key of :data:`TEACHER_DISTANCES`.

    Returns:
        ``anchor, positive, negative, anchor_positive_distance, anchor_negative_distance, d``.
    """
    anchor, positive, negative = (teacher[column] for column in triplets.T)

    def distances(others: np.ndarray) -> np.ndarray:
        return TEACHER_DISTANCES[distance]((anchor * others).sum(axis=1))

    table = pd.DataFrame(triplets, columns=["anchor", "positive", "negative"])
    table["anchor_positive_distance"] = distances(positive)
    table["anchor_negative_distance"] = distances(negative)
    table["d"] = (table.anchor_negative_distance - table.anchor_positive_distance).clip(lower=0)
    return table


def margins(d: np.ndarray, mode: str, quantiles: list[float]) -> dict:
    """m_min and m_max to train with, together with the measured values and the paper's.

    Args:
        d: of the sampled triplets.
        mode: ``measured`` (the quantiles of d) or ``paper`` (0.2 and 0.5).
        quantiles: which quantiles of d are m_min and m_max; [0, 1] is the smallest and the largest, as in the paper.

    Raises:
        ValueError: m_min is not below m_max, for example because the teacher does not separate the triplets.
    """
    measured = tuple(float(q) for q in np.quantile(d, quantiles))
    min_margin, max_margin = measured if mode == "measured" else PAPER_MARGINS
    if not min_margin < max_margin:
        raise ValueError(
            f"the margins measured from {len(d)} triplets, {min_margin:g} to {max_margin:g}, are not a valid range: "
            "train the teacher longer, raise the upper value of calibration.quantiles, or set calibration.mode to paper"
        )
    return {
        "mode": mode,
        "min_margin": min_margin,
        "max_margin": max_margin,
        "measured": measured,
        "measured_quantiles": quantiles,
        "paper": PAPER_MARGINS,
        "triplets": len(d),
        "quantiles": {str(q): float(np.quantile(d, q)) for q in (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)},
    }


def check_cached_embeddings(embeddings: np.ndarray, path: str, rows: np.ndarray) -> None:
    """A teacher's embeddings [N, 1 or 2, D] must have a direction; ``rows`` [N] of the ``path`` they were read from.

    Raises:
        ValueError: one contains NaN or infinity, or is zero.
    """
    check_embeddings(
        embeddings,
        path,
        lambda index: f"face {rows[index]}",
        "delete the file and run again; if that does not help, train the teacher again or choose another",
    )


def calibrated_margins(path: str | None) -> dict[str, float]:
    """What a calibration (JSON) tells a loss: the arguments of :class:`.losses.LossContext`; none without one."""
    if not path:
        return {}
    found = read_json(path)
    bounds = {name: found[name] for name in ("min_margin", "max_margin")}
    return bounds | {"largest_gap": found["quantiles"]["1"]}


def write_calibration(
    training_set: str,
    teacher_embeddings: str,
    settings: CalibrationSettings,
    distance: str,
    seed: int,
    outputs: tuple[str, str],
) -> None:
    """Draw triplets from the training set, measure their d with the teacher, and write the margins.

    Only the embeddings of the faces in the triplets are read.

    Args:
        training_set: path of the table ``row, label``.
        teacher_embeddings: path of [faces in store, 2, D].
        settings: how many triplets, and which margins to take.
        distance: T, the distance in which d is measured.
        seed: of the draw.
        outputs: paths of the margins (JSON, see :func:`margins`) and of the triplets (CSV, see :func:`measure`).

    Raises:
        ValueError: an embedding contains NaN or infinity, or is zero.
    """
    drawn = draw_faces(training_set, settings.triplets, seed)
    teacher = RowFile(teacher_embeddings).read(drawn.rows)[:, 0]
    check_cached_embeddings(teacher[:, None], teacher_embeddings, drawn.rows)
    measured = measure(teacher, np.searchsorted(drawn.positions, drawn.triplets), distance)
    measured[["anchor", "positive", "negative"]] = drawn.triplets
    found = margins(measured.d.to_numpy(), settings.mode, settings.quantiles)
    margins_output, triplets_output = outputs
    write_json(margins_output, {**found, "libraries": library_versions()})
    write_table(triplets_output, measured)
    summary(f"margins from {len(drawn.triplets)} triplets: {found['min_margin']:.3f} to {found['max_margin']:.3f}")
