"""Uncertainty of accuracies and of differences between models: people and runs are the units.

Pairs of a benchmark share people and photographs, and a training is one draw of many possible ones. So
neither pairs nor photographs are resampled or counted here. A metric of one run is a number with an
*influence* per pair: how much the pair moves the number, zero in the sum. The people's variance is the sum of
products of the influences of all pairs that share a person (dyadic clustering: Aronow, Samii and Assenova 2015).

- Runs tested on the same people: variance between runs (or rounds, if they have other training sets), divided by their
  number, plus the people's variance of the mean over runs; Student's t with Satterthwaite's degrees of freedom.
- Rounds, in each of which other people are tested: the rounds' means are the observations, with the correction
  for overlapping training sets (Nadeau and Bengio 2003).

What this covers in simulated studies is measured by ``benchmarks/statistics.py``.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from triplet_distillation.evaluation import verification

MIN_RUNS = 3
"""Fewer runs (or rounds) give no verdict."""
MIN_IDENTITIES = 10
"""Fewer test people in a run give no verdict."""
LEVEL = 0.05
POWER = 0.8
OBSERVATIONS = 7
"""Independent observations that a person is worth at most, for a rate near 0 or 1; by ``benchmarks/statistics.py``."""


class Pairs(NamedTuple):
    """A benchmark's pairs: ``same`` [pairs] bool; ``first``, ``second`` [pairs] int, the people."""

    same: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def num_identities(self) -> int:
        """Number of people in the pairs."""
        return len(np.union1d(self.first, self.second))


class Run(NamedTuple):
    """A metric of one run, or the difference of that between two models.

    ``round``: runs of the same round have the same training set; ``value``; ``influence`` [pairs], zero in the sum;
    ``pairs``; ``left_out``: size of what the round leaves out of training, relative to its training set;
    ``test_group``: runs with the same number were tested on the same pairs (all, unless rounds test other people).
    """

    round: int
    value: float
    influence: np.ndarray
    pairs: Pairs
    left_out: float
    test_group: int

    def minus(self, other: "Run") -> "Run":
        """The difference between two models in the same run."""
        return self._replace(value=self.value - other.value, influence=self.influence - other.influence)


class Estimate(NamedTuple):
    """``mean``, ``variance`` of that mean, ``freedom``: degrees of freedom of Student's t; ``num_identities``: people
    who were tested, in all rounds."""

    mean: float
    variance: float
    freedom: float
    num_identities: int


class Interval(NamedTuple):
    """A mean with its 95% confidence interval."""

    mean: float
    low: float
    high: float


def accuracy(correct: np.ndarray) -> tuple[float, np.ndarray]:
    """Share of correct decisions, and the influence of every pair, from ``correct`` [pairs] bool."""
    share = correct.mean()
    return float(share), (correct - share) / len(correct)


def auc(scores: np.ndarray, same: np.ndarray) -> tuple[float, np.ndarray]:
    """Area under the ROC curve, and the influence of every pair.

    A genuine pair's placement is the share of impostor pairs that it beats (ties count half), an impostor
    pair's the share of genuine pairs that beat it (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
        scores, same: [pairs].
    """
    genuine, impostor = np.sort(scores[same]), np.sort(scores[~same])

    def share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
        return (np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")) / (2 * len(others))

    placement = np.empty(len(scores))
    placement[same] = share_below(scores[same], impostor)
    placement[~same] = 1 - share_below(scores[~same], genuine)
    area = placement[same].mean()
    return float(area), (placement - area) / np.where(same, len(genuine), len(impostor))


def true_accept_rates(scores: np.ndarray, same: np.ndarray, fars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """TAR [rates] at the false accept rates ``fars`` [rates], and the influence of every pair, [rates, pairs].

    Impostor pairs move the threshold, and with it the TAR, by the slope of the ROC, which
    is measured between half and twice the FAR.
    """
    curve = verification.roc(scores, same)
    thresholds = np.concatenate([[np.inf], np.unique(scores)[::-1]])

    def place(rates: np.ndarray) -> np.ndarray:
        return np.searchsorted(curve.far, rates.clip(max=1), "right") - 1

    rates = curve.tar[place(fars)]
    slope = (curve.tar[place(2 * fars)] - curve.tar[place(fars / 2)]) / (np.minimum(2 * fars, 1) - fars / 2)
    accepted = scores >= thresholds[place(fars)][:, None]
    of_genuine = (accepted - rates[:, None]) / same.sum()
    of_impostor = -slope[:, None] * (accepted - curve.far[place(fars)][:, None]) / (~same).sum()
    return rates, np.where(same, of_genuine, of_impostor)


def identity_variance(influence: np.ndarray, pairs: Pairs) -> float:
    """Variance of a metric because other people could have been tested: dyadic clustering, times N / (N − 1)."""
    names, codes = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    first, second = codes[: len(influence)], codes[len(influence) :]
    two = first != second  # a pair of one person's photographs counts once
    number = len(names)
    sums = np.bincount(first, influence, number) + np.bincount(second[two], influence[two], number)
    _, same_two = np.unique(
        np.minimum(first, second)[two] * number + np.maximum(first, second)[two], return_inverse=True
    )
    counted_twice = np.bincount(same_two, influence[two])
    return max(0.0, float((sums**2).sum() - (counted_twice**2).sum())) * number / max(1, number - 1)


def estimate(runs: list[Run]) -> Estimate:
    """Mean over runs with its variance: by people and runs, or by rounds if the runs have tested different people.

    Runs of a round share a training set, and perhaps a teacher, so that rounds are averaged first.
    """
    observed = observations(runs)
    tested = sum({run.test_group: run.pairs.num_identities for run in runs}.values())
    if len({run.test_group for run in runs}) > 1:
        return Estimate(observed.mean, observed.variance, observed.number - 1, tested)
    of_identities = identity_variance(np.mean([run.influence for run in runs], axis=0), runs[0].pairs)
    variance = observed.variance + of_identities
    parts = of_identities**2 / max(1, tested - 1)
    if observed.number > 1:
        parts += observed.variance**2 / (observed.number - 1)
    return Estimate(observed.mean, variance, variance**2 / parts if parts else tested - 1, tested)


class Observations(NamedTuple):
    """Mean of ``number`` runs (or rounds, if there are several), and the ``variance`` of that mean between them."""

    mean: float
    number: int
    variance: float


def observations(runs: list[Run]) -> Observations:
    """Runs, or the means of rounds, with Nadeau and Bengio's correction."""
    rounds = sorted({run.round for run in runs})
    if len(rounds) == 1:
        values, correction = np.array([run.value for run in runs]), 0.0
    else:
        values = np.array([np.mean([run.value for run in runs if run.round == number]) for number in rounds])
        correction = float(np.mean([run.left_out for run in runs]))
    return Observations(float(values.mean()), len(values), _variance(values) * (1 / len(values) + correction))


def _variance(values: np.ndarray) -> float:
    """Variance of a sample; exactly 0 for equal values, of which rounding would make a certainty."""
    return float(values.var(ddof=1)) if len(values) > 1 and np.ptp(values) > 1e-12 else 0.0


def interval(found: Estimate) -> Interval:
    """95% confidence interval of a difference: Student's t."""
    half = _quantile(1 - LEVEL / 2, found.freedom) * found.variance**0.5
    return Interval(found.mean, found.mean - half, found.mean + half)


def rate_interval(found: Estimate) -> Interval:
    """95% confidence interval of a rate (accuracy, TAR), which holds near 0 and 1: Wilson's, with as many
    observations as give the estimated variance (Fogliato, Patil and Perona 2023).

    That variance is too small where nobody was drawn who is often mistaken, so it is not taken for more than
    :data:`OBSERVATIONS` per person; nor for a rate of exactly 0 or 1, which has no variance.
    """
    rate = found.mean
    spread = rate * (1 - rate)
    count = OBSERVATIONS * found.num_identities
    if spread and found.variance:
        count = min(spread / found.variance, count)
    z = _quantile(1 - LEVEL / 2, found.freedom)
    center = (rate + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * (spread / count + z**2 / (4 * count**2)) ** 0.5 / (1 + z**2 / count)
    low, high = max(0.0, center - half), min(1.0, center + half)  # beyond by rounding only
    return Interval(rate, min(rate, low), max(rate, high))


def p_value(found: Estimate) -> float:
    """Two-sided p-value of a difference, from the statistic that gives its interval; 1 if there is none."""
    if not found.variance:
        return 1.0
    return float(2 * stdtr(found.freedom, -abs(found.mean) / found.variance**0.5))


def detectable(found: Estimate, level: float) -> float:
    """The smallest difference that would have been found with 80% power at ``level``."""
    quantiles = _quantile(1 - level / 2, found.freedom) + _quantile(POWER, found.freedom)
    return quantiles * found.variance**0.5


def _quantile(probability: float, freedom: float) -> float:
    return float(stdtrit(max(1.0, freedom), probability))


def holm(p: np.ndarray) -> np.ndarray:
    """p-values of a family of comparisons, corrected by Holm's step-down method."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = stepped.clip(max=1)
    return corrected


def reason_for_no_verdict(runs: list[Run]) -> str:
    """Why these runs cannot support a claim, however large the difference; empty if they can."""
    observed, found = observations(runs).number, estimate(runs)
    unit = "round" if len({run.round for run in runs}) > 1 else "run"
    if observed < MIN_RUNS:
        return f"{observed} {unit}{'s' * (observed > 1)}"
    if found.num_identities < MIN_IDENTITIES:
        return f"{found.num_identities} people"
    if np.isnan(found.mean):
        return "not defined"
    return "" if found.variance else f"no {unit} differs"


def verdict(difference: float, corrected_p: float) -> str:
    """Verdict on the claim "A beats B": ``supported``, ``contradicted`` or ``undecided`` (at 5%)."""
    if corrected_p >= LEVEL:
        return "undecided"
    return "supported" if difference > 0 else "contradicted"
