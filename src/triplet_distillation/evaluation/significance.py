"""Uncertainty: intervals by resampling pairs, and the paired comparison of two models."""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest


class Interval(NamedTuple):
    """A mean with its 95% confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: np.ndarray, same: np.ndarray, resamples: int, seed: int) -> Interval:
    """Mean of ``values`` with its 95% confidence interval, by bootstrap over seeds and pairs.

    Every resample draws seeds with replacement, and pairs with replacement, separately for
    genuine and impostor pairs (the same pairs for all seeds, because all seeds were tested
    on the same pairs). With one seed, it covers the uncertainty from the pairs alone.

    Args:
        values: [seeds, pairs]: whether each pair was classified correctly, or the
            difference of that between two models.
        same: [pairs] bool.
        resamples: number of resamples.
        seed: of the resampling.
    """
    random = np.random.default_rng(seed)
    strata = [np.flatnonzero(same), np.flatnonzero(~same)]
    means = np.empty(resamples)
    for index in range(resamples):
        seeds = random.integers(0, len(values), len(values))
        pairs = np.concatenate([random.choice(stratum, len(stratum)) for stratum in strata])
        means[index] = values[seeds].mean(axis=0)[pairs].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """McNemar's exact p-value for two models on the same pairs ([pairs] bool each); 1 if they never differ."""
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def holm(p: np.ndarray) -> np.ndarray:
    """p-values of a family of comparisons, corrected by Holm's step-down method."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = stepped.clip(max=1)
    return corrected


def verdict(difference: float, corrected_p: float) -> str:
    """Verdict on the claim "A beats B": ``supported``, ``not supported`` or ``contradicted`` (at 5%)."""
    if corrected_p >= 0.05:
        return "not supported"
    return "supported" if difference > 0 else "contradicted"
