"""Accuracy against brute force over all thresholds; ROC, AUC, EER and TAR against their definitions."""

import numpy as np
import pandas as pd
import pytest

from triplet_distillation.evaluation import verification


def make_scores(seed, pairs=120, digits=2):
    """Scores with ties, which pairs are genuine, and folds."""
    random = np.random.default_rng(seed)
    same = random.random(pairs) < 0.5
    return np.round(random.normal(same * 0.8, 0.6), digits), same, random.integers(0, 5, pairs)


def best_accuracy(scores, same):
    """The highest accuracy of any threshold: all are tried, including one beyond each end."""
    candidates = [*scores, scores.max() + 1, scores.min() - 1]
    return max(((scores >= candidate) == same).mean() for candidate in candidates)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_threshold_is_better(seed):
    scores, same, _ = make_scores(seed)
    threshold = verification.best_threshold(scores, same)
    assert ((scores >= threshold) == same).mean() == best_accuracy(scores, same)


@pytest.mark.parametrize(
    ("scores", "same"),
    [
        ([0.1, 0.9], [True, True]),
        ([0.1, 0.9], [False, False]),
        ([0.5, 0.5], [True, False]),
        ([0.2, 0.8], [False, True]),
    ],
)
def test_no_other_threshold_is_better_in_edge_cases(scores, same):
    scores, same = np.array(scores), np.array(same)
    threshold = verification.best_threshold(scores, same)
    assert ((scores >= threshold) == same).mean() == best_accuracy(scores, same)


def test_threshold_does_not_depend_on_the_order():
    scores, same, _ = make_scores(3)
    order = np.random.default_rng(0).permutation(len(scores))
    assert verification.best_threshold(scores, same) == verification.best_threshold(scores[order], same[order])


def test_threshold_of_separable_scores_is_the_midpoint():
    assert verification.best_threshold(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1], bool)) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_k_fold_accuracy_by_hand(seed):
    scores, same, folds = make_scores(seed)
    result = verification.k_fold_accuracy(scores, same, folds)
    for fold, accuracy, threshold in zip(range(5), result.accuracies, result.thresholds):
        in_fold = folds == fold
        assert ((scores[~in_fold] >= threshold) == same[~in_fold]).mean() == best_accuracy(
            scores[~in_fold], same[~in_fold]
        )
        assert accuracy == ((scores[in_fold] >= threshold) == same[in_fold]).mean()
        assert (result.correct[in_fold] == ((scores[in_fold] >= threshold) == same[in_fold])).all()


def test_single_fold_is_rejected():
    with pytest.raises(ValueError, match="at least two folds"):
        verification.k_fold_accuracy(np.zeros(4), np.array([0, 1, 0, 1], bool), np.zeros(4, int))


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_probability_that_genuine_pairs_score_higher(seed):
    scores, same, _ = make_scores(seed, digits=1)
    wins = [(g > i) + 0.5 * (g == i) for g in scores[same] for i in scores[~same]]
    assert verification.area_under_curve(verification.roc(scores, same)) == pytest.approx(np.mean(wins))


@pytest.mark.parametrize("seed", range(5))
def test_roc_points_by_counting(seed):
    scores, same, _ = make_scores(seed)
    curve = verification.roc(scores, same)
    thresholds = np.unique(scores)[::-1]
    assert curve.far.tolist() == [0, *((scores[~same] >= t).mean() for t in thresholds)]
    assert curve.tar.tolist() == [0, *((scores[same] >= t).mean() for t in thresholds)]


def test_equal_error_rate():
    scores = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])
    same = np.array([0, 0, 0, 0, 1, 1, 1, 1], bool)
    assert verification.equal_error_rate(verification.roc(scores, same)) == pytest.approx(0.25)
    separable = verification.roc(np.array([0.1, 0.9]), np.array([False, True]))
    assert verification.equal_error_rate(separable) == 0


def test_tar_at_far_requires_enough_impostors():
    scores = np.concatenate([np.linspace(0, 0.5, 1000), np.linspace(0.4, 1, 100)])
    same = np.arange(1100) >= 1000
    curve = verification.roc(scores, same)
    threshold = np.sort(scores[~same])[-10]
    assert verification.tar_at_far(curve, 0.01, 1000) == pytest.approx((scores[same] >= threshold).mean())
    assert verification.tar_at_far(curve, 0.001, 1000) is None


def test_evaluate_returns_all_metrics():
    scores, same, folds = make_scores(1)
    pairs = pd.DataFrame({"a": 0, "b": 1, "same": same, "fold": folds})
    metrics, correct = verification.evaluate(scores, pairs, [0.5, 0.0001])
    assert metrics.pairs == 120
    assert metrics.genuine + metrics.impostor == 120
    assert metrics.tar_at_far["0.0001"] is None
    assert 0 < metrics.tar_at_far["0.5"] <= 1
    assert metrics.accuracy == pytest.approx(correct.mean())


def test_pair_scores_are_cosines():
    embeddings = np.random.default_rng(0).normal(size=(4, 3))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = verification.pair_scores(embeddings, pd.DataFrame({"a": [0, 2], "b": [1, 2]}))
    assert scores == pytest.approx([embeddings[0] @ embeddings[1], 1])
