"""Face verification: accuracy by folds with exact thresholds, ROC, AUC, EER, TAR at FAR."""

from typing import NamedTuple

import numpy as np
import pandas as pd


def pair_scores(embeddings: np.ndarray, pairs: pd.DataFrame) -> np.ndarray:
    """Cosine of every pair, [pairs], from L2-normalised ``embeddings`` whose row i is store row i of the pairs."""
    return np.einsum("ij,ij->i", embeddings[pairs.a], embeddings[pairs.b])


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold t that gets most pairs right when ``score ≥ t`` means same, found exactly.

    All thresholds are tried: one above every score, and one midway between each pair of
    neighbouring scores. Of equally good ones the middle of the first run is taken, so
    that the answer does not depend on the order of the pairs.
    """
    values, place = np.unique(scores, return_inverse=True)
    genuine = np.bincount(place, weights=same, minlength=len(values))
    impostor = np.bincount(place, weights=~same, minlength=len(values))
    # correct[k]: the k lowest scores are called impostors
    correct = np.concatenate([[0], np.cumsum(impostor)]) + np.concatenate([np.cumsum(genuine[::-1])[::-1], [0]])
    best = np.flatnonzero(correct == correct.max())
    run_end = best[0] + np.argmax(np.append(np.diff(best), 2) > 1)
    edges = np.concatenate([[values[0] - 1], (values[:-1] + values[1:]) / 2, [values[-1] + 1]])
    return float(edges[(best[0] + run_end) // 2])


class FoldAccuracy(NamedTuple):
    """``accuracies``, ``thresholds`` [folds]; ``correct`` [pairs] bool, each pair under its own fold's threshold."""

    accuracies: np.ndarray
    thresholds: np.ndarray
    correct: np.ndarray


def accuracy_by_folds(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldAccuracy:
    """Per fold, the accuracy at the threshold that is best on all the other folds (LFW's protocol).

    Raises:
        ValueError: there is one fold only, so nothing to choose its threshold on.
    """
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError("accuracy by folds needs at least two folds: the benchmark's pairs have one")
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
    """The exact ROC, one point a distinct score and (0, 0) before them."""
    values, place = np.unique(-scores, return_inverse=True)
    genuine = np.bincount(place, weights=same, minlength=len(values))
    impostor = np.bincount(place, weights=~same, minlength=len(values))
    return Roc(
        np.concatenate([[0], np.cumsum(impostor)]) / impostor.sum(),
        np.concatenate([[0], np.cumsum(genuine)]) / genuine.sum(),
    )


def area_under(curve: Roc) -> float:
    """AUC: the probability that a genuine pair scores higher than an impostor pair (ties count half)."""
    return float(np.trapezoid(curve.tar, curve.far))


def equal_error_rate(curve: Roc) -> float:
    """Where false accepts equal false rejects, interpolated between the points of the ROC."""
    difference = curve.far - (1 - curve.tar)
    after = int(np.argmax(difference >= 0))
    if difference[after] == 0 or after == 0:
        return float(curve.far[after])
    share = -difference[after - 1] / (difference[after] - difference[after - 1])
    return float(curve.far[after - 1] + share * (curve.far[after] - curve.far[after - 1]))


def tar_at_far(curve: Roc, far: float, impostors: int) -> float | None:
    """The highest TAR whose FAR is at most ``far``; None where fewer than 10 / far impostors support it."""
    if impostors * far < 10:
        return None
    return float(curve.tar[curve.far <= far].max())


def threshold_at_fmr(impostors: np.ndarray, rate: float) -> float | None:
    """The lowest threshold that at most ``rate`` of the impostor scores reach, midway to the next lower score.

    None where fewer than 10 / rate impostors support it.
    """
    if len(impostors) * rate < 10:
        return None
    highest_first = np.sort(impostors)[::-1].astype(float)
    above, first_below = highest_first[int(len(impostors) * rate) - 1], highest_first[int(len(impostors) * rate)]
    return float((above + first_below) / 2) if above > first_below else float(np.nextafter(above, np.inf))


def evaluate(scores: np.ndarray, pairs: pd.DataFrame, fars: list[float]) -> tuple[dict, np.ndarray]:
    """Every figure of one model on one benchmark, and which pairs it got right ([pairs] bool)."""
    same = pairs.same.to_numpy()
    by_folds = accuracy_by_folds(scores, same, pairs.fold.to_numpy())
    curve = roc(scores, same)
    figures = {
        "accuracy": float(by_folds.accuracies.mean()),
        "accuracy_deviation": float(by_folds.accuracies.std(ddof=1)),
        "thresholds": by_folds.thresholds.tolist(),
        "auc": area_under(curve),
        "equal_error_rate": equal_error_rate(curve),
        "tar_at_far": {f"{far:g}": tar_at_far(curve, far, int((~same).sum())) for far in fars},
        "pairs": len(pairs),
        "genuine": int(same.sum()),
        "impostor": int((~same).sum()),
        "folds": len(by_folds.accuracies),
    }
    return figures, by_folds.correct
