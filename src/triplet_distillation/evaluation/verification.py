"""Face verification: k-fold accuracy with exact thresholds, ROC, AUC, EER, TAR at FAR."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.files import read_json


def pair_scores(embeddings: np.ndarray, pairs: pd.DataFrame) -> np.ndarray:
    """Cosine similarity of every pair, [pairs]; ``a`` and ``b`` are rows of the L2-normalized ``embeddings``."""
    return np.einsum("ij,ij->i", embeddings[pairs.a], embeddings[pairs.b])


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold t that classifies most pairs correctly when ``score ≥ t`` means same, found exactly.

    All thresholds are tried: one below and one above every score, and one midway between
    each two neighboring scores. Of equally good ones, the middle of the first run is
    taken, so that the result does not depend on the order of the pairs.
    """
    values, place = np.unique(scores, return_inverse=True)
    genuine = np.bincount(place, weights=same, minlength=len(values))
    impostor = np.bincount(place, weights=~same, minlength=len(values))
    # correct[k]: correct decisions if the k lowest scores are classified as impostors
    correct = np.concatenate([[0], np.cumsum(impostor)]) + np.concatenate([np.cumsum(genuine[::-1])[::-1], [0]])
    best = np.flatnonzero(correct == correct.max())
    run_end = best[0] + np.argmax(np.append(np.diff(best), 2) > 1)
    edges = np.concatenate([[values[0] - 1], (values[:-1] + values[1:]) / 2, [values[-1] + 1]])
    return float(edges[(best[0] + run_end) // 2])


class FoldAccuracy(NamedTuple):
    """``accuracies``, ``thresholds`` [folds]; ``correct`` [pairs] bool, each pair at its own fold's threshold."""

    accuracies: np.ndarray
    thresholds: np.ndarray
    correct: np.ndarray


def k_fold_accuracy(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldAccuracy:
    """Per fold, the accuracy at the threshold that is best on all the other folds (LFW's protocol).

    Raises:
        ValueError: there is only one fold, so there are no other pairs to choose its threshold on.
    """
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError("k-fold accuracy needs at least two folds: the benchmark's pairs have only one")
    correct = np.zeros(len(scores), bool)
    thresholds = []
    for number in numbers:
        inside = folds == number
        thresholds.append(best_threshold(scores[~inside], same[~inside]))
        correct[inside] = (scores[inside] >= thresholds[-1]) == same[inside]
    accuracies = np.array([correct[folds == number].mean() for number in numbers])
    return FoldAccuracy(accuracies, np.array(thresholds), correct)


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


def threshold_at_far(impostors: np.ndarray, far: float) -> float | None:
    """The lowest threshold reached by at most a fraction ``far`` of the impostor scores, midway to the next lower one.

    None if there are fewer than 10 / far impostor pairs.
    """
    if len(impostors) * far < 10:
        return None
    highest_first = np.sort(impostors)[::-1].astype(float)
    above, first_below = highest_first[int(len(impostors) * far) - 1], highest_first[int(len(impostors) * far)]
    return float((above + first_below) / 2) if above > first_below else float(np.nextafter(above, np.inf))


@dataclass(frozen=True)
class VerificationMetrics:
    """Metrics of one model on one benchmark.

    ``accuracy`` is the mean over pairs, each at its fold's threshold; ``accuracy_std`` the standard deviation
    over folds; ``tar_at_far`` maps a FAR to the TAR, None if there are too few impostor pairs.
    """

    accuracy: float
    accuracy_std: float
    thresholds: list[float]
    auc: float
    equal_error_rate: float
    tar_at_far: dict[str, float | None]
    pairs: int
    genuine: int
    impostor: int
    folds: int


def evaluate(scores: np.ndarray, pairs: pd.DataFrame, fars: list[float]) -> tuple[VerificationMetrics, np.ndarray]:
    """All metrics of one model on one benchmark, and which pairs it classified correctly ([pairs] bool)."""
    same = pairs.same.to_numpy()
    folds = k_fold_accuracy(scores, same, pairs.fold.to_numpy())
    curve = roc(scores, same)
    metrics = VerificationMetrics(
        accuracy=float(folds.correct.mean()),
        accuracy_std=float(folds.accuracies.std(ddof=1)),
        thresholds=folds.thresholds.tolist(),
        auc=area_under_curve(curve),
        equal_error_rate=equal_error_rate(curve),
        tar_at_far={f"{far:g}": tar_at_far(curve, far, int((~same).sum())) for far in fars},
        pairs=len(pairs),
        genuine=int(same.sum()),
        impostor=int((~same).sum()),
        folds=len(folds.accuracies),
    )
    return metrics, folds.correct


def read_metrics(path: str) -> dict[str, VerificationMetrics]:
    """Benchmark to metrics, as :func:`.evaluate.evaluate_model` wrote them."""
    return {benchmark: VerificationMetrics(**metrics) for benchmark, metrics in read_json(path).items()}
