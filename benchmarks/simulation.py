"""Simulated studies, whose true accuracies and differences are known.

A pair is classified correctly where a latent value is positive, and its score is that value (genuine) or its
negative (impostor). The latent is the sum of how easy the pair is (people, photos, the pair itself; the same for all
models and runs) and of the random effects of people on a model, of a run, of people in a run, of the people
trained on, and noise. Effects of people and photos are the mean of a pair's two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from triplet_distillation.evaluation import significance
from triplet_distillation.evaluation.significance import Pairs, Run

ABILITY, PHOTO, PAIR, NOISE = 0.8, 0.5, 0.125**0.5, 0.5
"""Standard deviations of how easy people, photos and pairs are, and of the noise of a pair in a run."""
PHOTOS = 10
"""Photos of a person."""
FAR = 0.01


class Sources(NamedTuple):
    """Standard deviations of random effects, drawn for every model independently.

    ``model_person``: of a person on a model; a difference of two models has √2 times that, as all of these.
    ``run_person``: of a person in a run; ``run``; ``trained_on``: of one person who is trained on.
    """

    model_person: float
    run_person: float
    run: float
    trained_on: float = 0.0


DOMINANT = {
    "people": Sources(0.4 * 2**0.5, 0.2, 0.02),
    "run": Sources(0.1 * 2**0.5, 0.1, 0.15),
    "run x people": Sources(0.05 * 2**0.5, 0.5, 0.05),
    "training set": Sources(0.1 * 2**0.5, 0.1, 0.05, 2**0.5),
}
"""By which source of variance dominates."""
BALANCED = Sources(0.2 * 2**0.5, 0.2, 0.1)


@dataclass(frozen=True)
class Design:
    """A study: ``people`` in ``rounds`` disjoint test groups, ``runs`` in each, ``genuine`` pairs per person, and as
    many impostor pairs; ``models``, of which the first is better by ``effect`` (on the latent).

    ``mean`` is the latent's: 1.3 gives an accuracy of about 89%.
    """

    people: int
    genuine: int
    runs: int
    sources: Sources
    rounds: int = 1
    models: int = 2
    effect: float = 0.0
    mean: float = 1.3
    metric: str = "accuracy"


def true_accuracy(design: Design, effect: float) -> float:
    """Expected accuracy over people, photos and runs of a model with ``effect``: the latent is normal."""
    sources = design.sources
    of_identities = ABILITY**2 + PHOTO**2 / 2 + sources.model_person**2 + sources.run_person**2
    rest = PAIR**2 + NOISE**2 + sources.run**2
    genuine = NormalDist(0, (of_identities + rest) ** 0.5)  # both photos show one person
    impostor = NormalDist(0, ((of_identities - PHOTO**2 / 2) / 2 + PHOTO**2 / 2 + rest) ** 0.5)
    return (genuine.cdf(design.mean + effect) + impostor.cdf(design.mean + effect)) / 2


def true_difference(design: Design) -> float:
    """Expected difference in accuracy between the first model and each other one."""
    return true_accuracy(design, design.effect) - true_accuracy(design, 0)


def draw_pairs(people: int, genuine: int, random: np.random.Generator) -> Pairs:
    """``genuine`` pairs of every person, and as many impostor pairs, of random people."""
    own = np.repeat(np.arange(people), genuine)
    first = random.integers(0, people, len(own))
    second = (first + random.integers(1, people, len(own))) % people
    return Pairs(np.repeat([True, False], len(own)), np.concatenate([own, first]), np.concatenate([own, second]))


def draw_latents(pairs: Pairs, people: int, design: Design, random: np.random.Generator) -> np.ndarray:
    """Latents of all models and runs on the same pairs, [models, runs, pairs]."""

    def normal(deviation: float, *shape: int) -> np.ndarray:
        return np.float32(deviation) * random.standard_normal(shape, np.float32)

    sources, each = design.sources, (design.models, design.runs)
    photo = normal(PHOTO, people, PHOTOS)
    first = random.integers(0, PHOTOS, len(pairs.same))
    second = (first + random.integers(1, PHOTOS, len(pairs.same))) % PHOTOS
    easy = (photo[pairs.first, first] + photo[pairs.second, second]) / 2 + normal(PAIR, len(pairs.same))
    person = normal(ABILITY, people) + normal(sources.model_person, design.models, 1, people)
    person = person + normal(sources.run_person, *each, people)
    latents = normal(NOISE, *each, len(pairs.same))
    latents += (np.take(person, pairs.first, -1) + np.take(person, pairs.second, -1)) / 2
    latents += easy
    latents += normal(sources.run, *each, 1) + np.float32(design.mean)
    latents[0] += np.float32(design.effect)
    return latents


def _accuracy(scores: np.ndarray, same: np.ndarray) -> tuple[float, np.ndarray]:
    return significance.accuracy((scores > 0) == same)


def _true_accept_rate(scores: np.ndarray, same: np.ndarray) -> tuple[float, np.ndarray]:
    rates, influences = significance.true_accept_rates(scores, same, np.array([FAR]))
    return float(rates[0]), influences[0]


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]] = {
    "accuracy": _accuracy,
    "auc": significance.auc,
    "tar": _true_accept_rate,
}


def simulate(design: Design, random: np.random.Generator) -> list[list[Run]]:
    """One study: every model's runs, in the same order."""
    metric = METRICS[design.metric]
    groups = np.array_split(np.arange(design.people), design.rounds)
    trained_on = random.normal(0, design.sources.trained_on, (design.models, design.people))
    found: list[list[Run]] = [[] for _ in range(design.models)]
    for number, group in enumerate(groups):
        pairs = draw_pairs(len(group), design.genuine, random)
        latents = draw_latents(pairs, len(group), design, random)
        trained = max(1, design.people - len(group))  # with one group, those trained on are the same in every study
        share = len(group) / trained
        if design.rounds > 1:
            effects = (trained_on.sum(1) - trained_on[:, group].sum(1)) / trained
            latents += effects[:, None, None].astype(np.float32)
        for model, its_latents in enumerate(latents):
            for latent in its_latents:
                scores = np.where(pairs.same, latent, -latent)
                found[model].append(Run(number, *metric(scores, pairs.same), pairs, share, number))
    return found


def differences(models: list[list[Run]]) -> list[list[Run]]:
    """The first model minus each other one, run by run."""
    return [[first.minus(other) for first, other in zip(models[0], runs)] for runs in models[1:]]


class Outcome(NamedTuple):
    """A study's judgment: ``covered`` [comparisons] bool, whether the interval contains the true difference; ``wrong``
    [comparisons], whether each would get a verdict alone; ``wrong_corrected`` [comparisons], whether each gets one
    after Holm's correction; ``half_width`` and ``difference``, both of the first comparison.

    With a true difference, ``wrong`` means found.
    """

    covered: list[bool]
    wrong: list[bool]
    wrong_corrected: list[bool]
    half_width: float
    difference: float


def judge(comparisons: list[list[Run]], truth: float, estimate: Callable = significance.estimate) -> Outcome:
    """Judge a family of comparisons; ``estimate`` turns the runs of each into an :class:`.significance.Estimate`."""
    estimates = [estimate(runs) for runs in comparisons]
    intervals = [significance.interval(each) for each in estimates]
    p_values = np.array([significance.p_value(each) for each in estimates])
    corrected = significance.holm(p_values)
    return Outcome(
        [bool(each.low <= truth <= each.high) for each in intervals],
        [significance.verdict(each.mean, p) != "undecided" for each, p in zip(estimates, p_values)],
        [significance.verdict(each.mean, p) != "undecided" for each, p in zip(estimates, corrected)],
        (intervals[0].high - intervals[0].low) / 2,
        estimates[0].mean,
    )


def judge_studies(design: Design, studies: int, seed: int, estimate: Callable = significance.estimate) -> list[Outcome]:
    """The outcomes of simulated studies, with one random generator."""
    random = np.random.default_rng(seed)
    truth = true_difference(design)
    return [judge(differences(simulate(design, random)), truth, estimate) for _ in range(studies)]


def rate_coverage(design: Design, studies: int, seed: int) -> float:
    """Share of studies in which the interval of one model's accuracy contains the true one."""
    random = np.random.default_rng(seed)
    truth = true_accuracy(design, 0)
    covered = 0
    for _ in range(studies):
        found = significance.rate_interval(significance.estimate(simulate(design, random)[0]))
        covered += found.low <= truth <= found.high
    return covered / studies
