"""Confidence intervals and paired tests against textbook values."""

import numpy as np
import pytest
from scipy.stats import binom

from triplet_distillation.evaluation import significance


def test_interval_of_one_seed_is_binomial():
    """With equally many genuine and impostor pairs at one accuracy, the bootstrap agrees with the binomial."""
    random = np.random.default_rng(0)
    same = np.repeat([True, False], 500)
    correct = random.random((1, 1000)) < 0.9
    interval = significance.bootstrap(correct, same, 4000, 0)
    low, high = binom.ppf([0.025, 0.975], 1000, correct.mean()) / 1000
    assert interval.mean == correct.mean()
    assert interval.low == pytest.approx(low, abs=0.003)
    assert interval.high == pytest.approx(high, abs=0.003)


def test_differences_between_seeds_widen_the_interval():
    same = np.repeat([True, False], 500)
    correct = np.zeros((3, 1000), bool)
    for row, accuracy in zip(correct, (0.7, 0.8, 0.9)):
        row[np.random.default_rng(1).permutation(1000)[: int(1000 * accuracy)]] = True
    several_seeds = significance.bootstrap(correct, same, 2000, 0)
    one_seed = significance.bootstrap(correct[1:2], same, 2000, 0)
    assert several_seeds.high - several_seeds.low > 2 * (one_seed.high - one_seed.low)


def test_bootstrap_is_deterministic_for_one_seed():
    same = np.repeat([True, False], 50)
    correct = np.random.default_rng(0).random((1, 100)) < 0.8
    assert significance.bootstrap(correct, same, 200, 1) == significance.bootstrap(correct, same, 200, 1)


@pytest.mark.parametrize(("only_a", "only_b", "p"), [(5, 0, 2 / 2**5), (3, 1, 10 / 16), (0, 0, 1.0), (10, 10, 1.0)])
def test_mcnemar_by_hand(only_a, only_b, p):
    a = np.array([True] * only_a + [False] * only_b + [True] * 7)
    b = np.array([False] * only_a + [True] * only_b + [True] * 7)
    assert significance.mcnemar(a, b) == pytest.approx(p)


def test_holm_by_hand():
    corrected = significance.holm(np.array([0.04, 0.01, 0.03]))
    assert corrected == pytest.approx([0.06, 0.03, 0.06])


@pytest.mark.parametrize(
    ("difference", "p", "verdict"), [(1, 0.01, "supported"), (-1, 0.01, "contradicted"), (1, 0.2, "not supported")]
)
def test_verdict(difference, p, verdict):
    assert significance.verdict(difference, p) == verdict
