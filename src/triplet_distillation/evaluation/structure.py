"""How much of the teacher's similarity structure a student has: whether both order people in the same way.

A network says of any two people how far apart they are: the squared Euclidean distance between the normalized means of
their faces. Two measures compare the order of these distances, not their size, with the teacher's:

- *rank correlation*: Spearman's, over all pairs of people;
- *triplet agreement*: for an anchor and two other people, how often both networks find the same one nearer. With
  Kendall's τ of every anchor, it is the mean of (1 + τ) / 2.

Every person is in many pairs, so that people are the units: the variance is the jackknife's over people (Efron and
Stein 1981), as influences for :mod:`.significance`.
"""

from collections.abc import Callable

import numpy as np

from triplet_distillation.evaluation.fusion import face_embeddings, normalize
from triplet_distillation.evaluation.significance import Pairs

MAX_IDENTITIES = 300
"""More people are not compared: time grows with the third power of their number."""
MIN_IDENTITIES = 4
"""Leaving one person out must leave three, because two people form no triplet."""


def choose_identities(labels: np.ndarray, seed: int, most: int = MAX_IDENTITIES) -> np.ndarray:
    """The identities to compare, ascending: all in ``labels`` [faces], or ``most`` of them, drawn at random.

    The draw depends on the seed and on who is in ``labels`` only, so that it is the same for all models.
    """
    found = np.unique(labels)
    if len(found) <= most:
        return found
    return np.sort(np.random.default_rng(seed).choice(found, most, replace=False))


def identity_means(embeddings: np.ndarray, labels: np.ndarray, flip: str) -> np.ndarray:
    """The L2-normalized mean of every identity's L2-normalized face embeddings.

    Args:
        embeddings: a network's outputs for image and flipped image, [faces, 2, D].
        labels: identities, [faces].
        flip: how image and flipped image are fused, as :func:`.fusion.fuse`.

    Returns:
        [identities, E] float64, in the order of ``np.unique(labels)``.

    Raises:
        ValueError: there are not as many labels as faces, ``flip`` is unknown, or the embeddings of an identity add up
            to zero or are not finite.
    """
    if len(embeddings) != len(labels):
        raise ValueError(f"there are {len(embeddings)} embeddings, but {len(labels)} labels")
    faces = face_embeddings(embeddings.astype(np.float64), flip)
    names, codes = np.unique(labels, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    sums = np.add.reduceat(faces[order], np.searchsorted(codes[order], np.arange(len(names))))
    if (wrong := ~(np.linalg.norm(sums, axis=1) > 0)).any():
        raise ValueError(
            f"the embeddings of identity {names[wrong][0]} add up to zero or are not finite: look at the faces, or "
            "change evaluation.flip"
        )
    return normalize(sums)


def identity_distances(means: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, 0 … 4, between normalized ``means`` [identities, E]: [identities, identities]."""
    distances = (2 - 2 * means @ means.T).clip(min=0)
    np.fill_diagonal(distances, 0)
    return distances


def rank_correlation(teacher: np.ndarray, student: np.ndarray) -> tuple[float, np.ndarray]:
    """Spearman's rank correlation of two networks' distances over all pairs of identities.

    Args:
        teacher, student: [identities, identities], symmetric.

    Returns:
        The correlation, −1 … 1, and the influence of every identity, [identities]; NaN and zeros where it is not
        defined: for fewer than :data:`MIN_IDENTITIES`, or where all distances of a network are equal.

    Raises:
        ValueError: the matrices have different shapes.
    """
    number = _check(teacher, student)
    first, second = np.triu_indices(number, 1)
    places = [np.unique(each[first, second], return_inverse=True)[1] for each in (teacher, student)]
    value = _correlation(*map(_average_ranks, places))
    without = []
    for identity in range(number):
        others = (first != identity) & (second != identity)
        without.append(_correlation(*(_average_ranks(each[others]) for each in places)))
    return _with_influences(value, np.array(without))


def triplet_agreement(teacher: np.ndarray, student: np.ndarray) -> tuple[float, np.ndarray]:
    """Share of triplets (anchor, b, c) of different identities of which two networks find the same one, b or c, nearer
    to the anchor; a triplet in which either finds both equally near counts half.

    Args, returns and raises as :func:`rank_correlation`; the share is 0 … 1.
    """
    number = _check(teacher, student)
    of_anchor, of_other = np.zeros(number), np.zeros(number)
    for anchor in range(number):
        agree = np.sign(teacher[anchor][:, None] - teacher[anchor]) * np.sign(
            student[anchor][:, None] - student[anchor]
        )
        agree[anchor], agree[:, anchor] = 0, 0
        of_anchor[anchor] = agree.sum()
        of_other += agree.sum(axis=1)
    total = of_anchor.sum()
    # Every triplet occurs as (b, c) and as (c, b), so that an identity is the other one twice.
    without = total - of_anchor - 2 * of_other
    return _with_influences(_share(total, number), _share(without, number - 1))


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]] = {
    "rank correlation": rank_correlation,
    "triplet agreement": triplet_agreement,
}
"""Name to a function of the teacher's and the student's distances."""
RANGES = {"rank correlation": (-1.0, 1.0), "triplet agreement": (0.0, 1.0)}
"""Name of a measure to its smallest and largest value."""


def as_pairs(identities: np.ndarray) -> Pairs:
    """Identities [N] int as the units of :mod:`.significance`: each is a pair with itself.

    :func:`.significance.identity_variance` of a measure's influences is then the jackknife's variance,
    (N − 1) / N · Σ (θ₍₋ᵢ₎ − mean)².
    """
    return Pairs(np.ones(len(identities), bool), identities, identities)


def _check(teacher: np.ndarray, student: np.ndarray) -> int:
    if teacher.shape != student.shape or teacher.ndim != 2 or len(teacher) != teacher.shape[1]:
        raise ValueError(
            f"distances of {teacher.shape} and {student.shape} cannot be compared: both must be [identities, "
            "identities]"
        )
    return len(teacher)


def _average_ranks(places: np.ndarray) -> np.ndarray:
    """Ranks of values, equal ones sharing their average, from their ``places`` among the distinct values."""
    counts = np.bincount(places)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; NaN if one of them is constant."""
    if len(first) < 2:
        return np.nan
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale else np.nan


def _share(agreement, number: int):
    """(1 + mean agreement) / 2 of the sum of agreements, −1, 0 or 1, over all triplets of ``number`` identities."""
    triplets = number * (number - 1) * (number - 2)
    return (1 + agreement / triplets) / 2 if triplets > 0 else np.nan * agreement


def _with_influences(value: float, without: np.ndarray) -> tuple[float, np.ndarray]:
    """A measure, and how much every identity moves it, from what it would be ``without`` each, [identities]."""
    number = len(without)
    if number < MIN_IDENTITIES or not np.isfinite([value, *without]).all():
        return np.nan, np.zeros(number)
    moved = (number - 1) / number * (value - without)
    return float(value), moved - moved.mean()
