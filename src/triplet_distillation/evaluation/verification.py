"""Face verification: k-fold accuracy with exact thresholds, ROC, AUC, EER, TAR at FAR."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.files import read_json


def pair_scores(embeddings: np.ndarray, pairs: pd.DataFrame) -> np.ndarray:
    """Cosine similarity of every pair, [pairs] float64; ``a``, ``b`` are rows of the L2-normalized ``embeddings``."""
    return cosine_similarities(embeddings, pairs.a.to_numpy(), pairs.b.to_numpy())


def cosine_similarities(embeddings: np.ndarray, a: np.ndarray, b: np.ndarray, block: int = 256) -> np.ndarray:
    """Cosine similarity of L2-normalized ``embeddings`` [N, D] of any float type, computed in double precision.

    Args:
        a, b: [P] rows of ``embeddings``.
        block: pairs computed at a time. Small blocks stay in the processor's cache; the result is the same.

    Returns:
        [P] float64.
    """
    scores = np.empty(len(a))
    for start in range(0, len(a), block):
        rows = slice(start, start + block)
        # convert first: einsum's own conversion may split a row, so that equal pairs could get different scores
        left, right = embeddings[a[rows]].astype(np.float64), embeddings[b[rows]].astype(np.float64)
        np.einsum("ij,ij->i", left, right, out=scores[rows])
    return scores


def best_threshold(scores: np.ndarray, same: np.ndarray) -> np.float64:
    """The threshold t that classifies most pairs correctly when ``score ≥ t`` means same, found exactly.

    All thresholds are tried: one below and one above every score, and one between each two
    neighboring scores. Of equally good ones, the middle of the first run is taken, so that
    the result does not depend on the order of the pairs.

    Args:
        scores: [pairs], float32 or float64.
        same: [pairs] bool.

    Returns:
        Midway between its neighboring scores, where double precision allows. NumPy compares float32 scores
        with it in double precision, because it is a ``np.float64``; a Python float would be rounded to float32.
    """
    values, place = np.unique(scores, return_inverse=True)
    return _choose_threshold(values.astype(np.float64), np.bincount(place, weights=_gains(same)))


def _gains(same: np.ndarray) -> np.ndarray:
    """What rejecting a pair changes in the number of correct decisions, [pairs] float64: 1 if impostor, −1 if not."""
    return 1.0 - 2.0 * same


def _choose_threshold(values: np.ndarray, gains: np.ndarray) -> np.float64:
    """:func:`best_threshold` from the distinct scores, [V] float64 ascending, and the summed gains at each, [V]."""
    # gained[k]: correct decisions if the k lowest distinct scores are rejected, compared with accepting all pairs
    gained = np.zeros(len(values) + 1)
    np.cumsum(gains, out=gained[1:])
    first = gained.argmax()
    worse = np.append(gained[first:] < gained[first], True)
    rejected = first + (worse.argmax() - 1) // 2
    if rejected == 0:
        return values[0] - 1
    if rejected == len(values):
        return values[-1] + 1
    return _threshold_between(values[rejected - 1], values[rejected])


def _threshold_between(lower: np.float64, upper: np.float64) -> np.float64:
    """A threshold t with ``lower < t ≤ upper``: midway, or ``upper`` if no number lies between the two."""
    middle = (lower + upper) / 2
    return middle if middle > lower else upper


class FoldAccuracy(NamedTuple):
    """``accuracies``, ``thresholds`` [folds]; ``correct`` [pairs] bool, each pair at its own fold's threshold."""

    accuracies: np.ndarray
    thresholds: np.ndarray
    correct: np.ndarray


def k_fold_accuracy(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldAccuracy:
    """Per fold, the accuracy at the threshold that is best on all the other folds (LFW's protocol).

    A fold's threshold is the :func:`best_threshold` of the other folds' pairs. The scores are sorted only once:
    a fold's pairs are subtracted from the counts of all pairs.

    Args:
        scores: [pairs], float32 or float64.
        same: [pairs] bool.
        folds: [pairs], each pair's fold.

    Raises:
        ValueError: there is only one fold, so there are no other pairs to choose its threshold on.
    """
    numbers = pd.unique(folds)
    if len(numbers) < 2:
        raise ValueError("k-fold accuracy needs at least two folds: the benchmark's pairs have only one")
    scores, gains = scores.astype(np.float64), _gains(same)
    values, place = np.unique(scores, return_inverse=True)
    pairs_at, gains_at = np.bincount(place), np.bincount(place, weights=gains)
    correct = np.zeros(len(scores), bool)
    accuracies, thresholds = np.zeros((2, len(numbers)))
    for index, number in enumerate(np.sort(numbers)):
        inside = np.flatnonzero(folds == number)
        pairs_inside = np.bincount(place[inside], minlength=len(values))
        gains_inside = np.bincount(place[inside], weights=gains[inside], minlength=len(values))
        # scores that only the tested fold has must not influence its threshold
        outside = pairs_at > pairs_inside
        thresholds[index] = _choose_threshold(values[outside], (gains_at - gains_inside)[outside])
        correct[inside] = (scores[inside] >= thresholds[index]) == same[inside]
        accuracies[index] = np.count_nonzero(correct[inside]) / len(inside)
    return FoldAccuracy(accuracies, thresholds, correct)


class Roc(NamedTuple):
    """False and true accept rates when the threshold falls from above the highest score to the lowest."""

    far: np.ndarray
    tar: np.ndarray


def roc(scores: np.ndarray, same: np.ndarray) -> Roc:
    """The exact ROC: (0, 0), then one point per distinct score."""
    values, place = np.unique(-scores, return_inverse=True)
    genuine = np.bincount(place, weights=same, minlength=len(values))
    impostor = np.bincount(place, weights=~same, minlength=len(values))
    return Roc(
        np.concatenate([[0], np.cumsum(impostor)]) / impostor.sum(),
        np.concatenate([[0], np.cumsum(genuine)]) / genuine.sum(),
    )


def area_under_curve(curve: Roc) -> float:
    """AUC: the probability that a genuine pair scores higher than an impostor pair (ties count half)."""
    return float(np.trapezoid(curve.tar, curve.far))


def equal_error_rate(curve: Roc) -> float:
    """The rate at which false accepts equal false rejects, interpolated between points of the ROC."""
    difference = curve.far - (1 - curve.tar)
    after = int(np.argmax(difference >= 0))
    if difference[after] == 0 or after == 0:
        return float(curve.far[after])
    share = -difference[after - 1] / (difference[after] - difference[after - 1])
    return float(curve.far[after - 1] + share * (curve.far[after] - curve.far[after - 1]))


def tar_at_far(curve: Roc, far: float, impostors: int) -> float | None:
    """The highest TAR with a FAR of at most ``far``; None if there are fewer than 10 / far impostor pairs."""
    if impostors * far < 10:
        return None
    return float(curve.tar[curve.far <= far].max())


def threshold_at_far(impostors: np.ndarray, far: float) -> np.float64 | None:
    """The lowest threshold reached by at most a fraction ``far`` of the impostor scores.

    Args:
        impostors: [pairs] scores, float32 or float64.
        far: greater than 0 and less than 1.

    Returns:
        Midway between the two neighboring impostor scores, where double precision allows; just above the highest
        score if too many pairs have it. None if there are fewer than 10 / far impostor pairs.
    """
    pairs = len(impostors)
    if pairs * far < 10:
        return None
    accepted = round(pairs * far)
    if accepted / pairs > far:  # compared as in the ROC, because the product itself may not be exact
        accepted -= 1
    ascending = np.sort(impostors.astype(np.float64))
    lower = ascending[pairs - accepted - 1]
    higher = np.searchsorted(ascending, lower, side="right")
    upper = ascending[higher] if higher < pairs else np.nextafter(lower, np.inf)
    return _threshold_between(lower, upper)


@dataclass(frozen=True)
class VerificationMetrics:
    """Metrics of one model on one benchmark.

    ``accuracy`` is the mean over pairs, each at its fold's threshold; ``accuracy_std`` the standard deviation
    over folds; both are None if all pairs are in one fold. ``tar_at_far`` maps a FAR to the TAR, None if there are too
    few impostor pairs.
    """

    accuracy: float | None
    accuracy_std: float | None
    thresholds: list[float]
    auc: float
    equal_error_rate: float
    tar_at_far: dict[str, float | None]
    pairs: int
    genuine: int
    impostor: int
    folds: int


def evaluate(scores: np.ndarray, pairs: pd.DataFrame, fars: list[float]) -> VerificationMetrics:
    """All metrics of one model on one benchmark."""
    same, fold = pairs.same.to_numpy(), pairs.fold.to_numpy()
    folds = k_fold_accuracy(scores, same, fold) if len(np.unique(fold)) > 1 else None
    curve = roc(scores, same)
    return VerificationMetrics(
        accuracy=float(folds.correct.mean()) if folds else None,
        accuracy_std=float(folds.accuracies.std(ddof=1)) if folds else None,
        thresholds=folds.thresholds.tolist() if folds else [],
        auc=area_under_curve(curve),
        equal_error_rate=equal_error_rate(curve),
        tar_at_far={f"{far:g}": tar_at_far(curve, far, int((~same).sum())) for far in fars},
        pairs=len(pairs),
        genuine=int(same.sum()),
        impostor=int((~same).sum()),
        folds=len(folds.accuracies) if folds else 1,
    )


def in_words(metrics: VerificationMetrics) -> str:
    """One line for the terminal."""
    accuracy = f"accuracy {100 * metrics.accuracy:.2f}%, " if metrics.accuracy is not None else ""
    return f"{accuracy}AUC {metrics.auc:.4f}, EER {100 * metrics.equal_error_rate:.2f}%"


def read_metrics(path: str) -> dict[str, VerificationMetrics]:
    """Benchmark to metrics, as :func:`.evaluate.evaluate_model` wrote them."""
    return {benchmark: VerificationMetrics(**metrics) for benchmark, metrics in read_json(path).items()}
