"""Intervals cover, verdicts are rarely false and differences are found, in simulated studies whose truth is known.

``benchmarks/statistics.py`` does the same in more designs and more studies. Estimators that ignore people, or
runs, fail the same check.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from triplet_distillation.evaluation import significance
from triplet_distillation.evaluation.significance import Pairs

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: hides no other module

import simulation
from simulation import BALANCED, DOMINANT, Design, Sources

STUDIES = 300
DESIGNS = {
    f"{kind}, {name}": dataclasses.replace(design, sources=DOMINANT[name], models=3)
    for name in ("people", "run", "run x people")
    for kind, design in {
        "few people": Design(12, 30, 3, BALANCED),
        "fixed": Design(40, 10, 5, BALANCED),
        "many people": Design(400, 2, 3, BALANCED),
        "rounds": Design(40, 20, 1, BALANCED, rounds=4),
        "rounds and runs": Design(40, 20, 3, BALANCED, rounds=4),
        "AUC": Design(40, 10, 3, BALANCED, metric="auc"),
    }.items()
}


def error(share):
    """Two standard errors of a share that is found in :data:`STUDIES` independent studies: binomial."""
    return 2 * (share * (1 - share) / STUDIES) ** 0.5


def coverage(design, estimate=significance.estimate):
    outcomes = simulation.judge_studies(design, STUDIES, 0, estimate)
    return np.mean([outcome.covered for outcome in outcomes])


def ignoring_people(runs):
    """As if every pair showed people of its own."""
    count = len(runs[0].pairs.same)
    independent = Pairs(runs[0].pairs.same, np.arange(count), count + np.arange(count))
    return significance.estimate([run._replace(pairs=independent) for run in runs])


def ignoring_runs(runs):
    """As if the mean over runs were one run, which had no variance."""
    influence = np.mean([run.influence for run in runs], axis=0)
    value = float(np.mean([run.value for run in runs]))
    return significance.estimate([runs[0]._replace(value=value, influence=influence)])


@pytest.fixture(scope="module")
def outcomes():
    return {name: simulation.judge_studies(design, STUDIES, 0) for name, design in DESIGNS.items()}


def test_intervals_cover(outcomes):
    shares = {name: np.mean([each.covered for each in found]) for name, found in outcomes.items()}
    assert {name: share for name, share in shares.items() if share < 0.91 - error(0.91)} == {}


def test_verdicts_are_rarely_false(outcomes):
    alone = {name: np.mean([each.wrong for each in found]) for name, found in outcomes.items()}
    family = {name: np.mean([any(each.wrong_corrected) for each in found]) for name, found in outcomes.items()}
    for shares in (alone, family):
        assert {name: share for name, share in shares.items() if share > 0.09 + error(0.09)} == {}
        assert np.mean(list(shares.values())) <= 0.05


@pytest.mark.parametrize(("estimate", "dominant"), [(ignoring_people, "people"), (ignoring_runs, "run")])
@pytest.mark.parametrize("people", [40, 400])
def test_what_ignores_people_or_runs_does_not_cover(estimate, dominant, people):
    design = Design(people, 20 if people == 40 else 10, 5, DOMINANT[dominant])
    assert coverage(design) >= 0.91 - error(0.91)
    assert coverage(design, estimate) < 0.91 - error(0.91)


@pytest.mark.parametrize(
    ("people", "runs", "effect", "least"),
    [(40, 5, 0.25, 0.45), (40, 5, 0.5, 0.96), (200, 5, 0.25, 0.78), (200, 3, 0.25, 0.49)],
)
def test_true_differences_are_found(people, runs, effect, least):
    """Differences of 3.6 and 6 points."""
    design = Design(people, 20 if people == 40 else 10, runs, BALANCED, effect=effect)
    outcomes = simulation.judge_studies(design, STUDIES, 0)
    assert np.mean([outcome.wrong[0] for outcome in outcomes]) >= least - error(least)
    assert np.mean([outcome.covered[0] for outcome in outcomes]) >= 0.91 - error(0.91)


@pytest.mark.parametrize(
    ("people", "runs"),
    [(40, 1), (200, 1), (200, 5)],
)
def test_rates_near_1_are_covered(people, runs):
    sources = BALANCED if runs > 1 else Sources(BALANCED.model_person, 0.2, 0.0)  # one run cannot show their variance
    design = Design(people, 20 if people == 40 else 10, runs, sources, models=1, mean=2.4)
    assert simulation.true_accuracy(design, 0) == pytest.approx(0.99, abs=0.002)
    assert simulation.rate_coverage(design, STUDIES, 0) >= 0.91 - error(0.91)


@pytest.mark.parametrize(("mean", "effect"), [(1.3, 0.0), (1.3, 0.5), (2.4, 0.0)])
def test_true_accuracy_is_that_of_a_large_study(mean, effect):
    design = Design(30000, 2, 1, Sources(0.4, 0.5, 0.0), effect=effect, mean=mean)
    runs = simulation.simulate(design, np.random.default_rng(0))
    for (run,), its_effect in zip(runs, (effect, 0)):
        deviation = significance.estimate([run]).variance ** 0.5
        assert deviation < 0.002
        assert run.value == pytest.approx(simulation.true_accuracy(design, its_effect), abs=3 * deviation)


def test_studies_are_the_same_for_one_seed():
    design = DESIGNS["rounds, run"]
    assert simulation.judge_studies(design, 3, 1) == simulation.judge_studies(design, 3, 1)
    assert simulation.judge_studies(design, 3, 1) != simulation.judge_studies(design, 3, 2)
