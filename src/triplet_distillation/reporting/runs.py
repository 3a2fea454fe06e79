"""The runs of a study as the statistics take them: per model, benchmark and metric."""

import numpy as np
import pandas as pd

from triplet_distillation.evaluation import significance
from triplet_distillation.evaluation.significance import Estimate, Pairs, Run
from triplet_distillation.evaluation.verification import k_fold_accuracy
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.tabular import read_table

METRICS = ("own", "AUC")
"""What claims are judged by: the benchmark's own metric (accuracy, or TAR at FAR) and the area under the ROC curve."""


def measure(table: pd.DataFrame, metric: str, far: float | None) -> tuple[float, np.ndarray]:
    """A metric of one run, and the influence of every pair.

    Args:
        table: ``score, same, fold`` of the pairs.
        metric: one of :data:`METRICS`.
        far: the false accept rate, if the benchmark's own metric is TAR at FAR.
    """
    scores, same = table.score.to_numpy(), table.same.to_numpy()
    if metric == "AUC":
        return significance.auc(scores, same)
    if far is None:
        return significance.accuracy(k_fold_accuracy(scores, same, table.fold.to_numpy()).correct)
    rates, influences = significance.true_accept_rates(scores, same, np.array([far]))
    return float(rates[0]), influences[0]


class Measurements:
    """What is measured of every model in every run. A subclass says what, and measures a run.

    Args:
        training_sets: paths of the training sets, one per round.
        context: which runs belong together.
    """

    metrics: tuple[str, ...]
    """What models are compared by."""

    def __init__(self, training_sets: list[str], context: ReportContext):
        self.context = context
        self._left_out = _left_out([read_table(path).row.to_numpy() for path in training_sets])

    def metric_name(self, benchmark: str, metric: str) -> str:
        """What a metric is called in tables."""
        raise NotImplementedError

    def run(self, model: str, benchmark: str, metric: str, run: int) -> Run:
        """A metric of one run of a model."""
        raise NotImplementedError

    def runs(self, model: str, benchmark: str, metric: str) -> list[Run]:
        """A metric of every run of a model."""
        return [self.run(model, benchmark, metric, run) for run in self._different(model, benchmark)]

    def differences(self, a: str, b: str, benchmark: str, metric: str) -> list[Run]:
        """A's metric minus B's in every run, unless both have the same weights and pairs as in an earlier one."""
        context = self.context
        compared: dict[tuple[int, int, int], tuple[int, int]] = {}
        for place, group in enumerate(context.test_groups[benchmark]):
            tested = (context.weights[a][place], context.weights[b][place], group)
            compared.setdefault(tested, (context.runs[a][place], context.runs[b][place]))
        return [
            self.run(a, benchmark, metric, run_a).minus(self.run(b, benchmark, metric, run_b))
            for run_a, run_b in compared.values()
        ]

    def _as_run(self, benchmark: str, run: int, measured: tuple[float, np.ndarray], pairs: Pairs) -> Run:
        """A value and influences ``measured`` on ``pairs`` in one run."""
        place = self.context.seeds.index(run)
        number, group = self.context.rounds[place], self.context.test_groups[benchmark][place]
        value, influence = measured
        return Run(number, float(value), influence, pairs, self._left_out[number], group)

    def _different(self, model: str, benchmark: str) -> list[int]:
        """The runs of a model without those in which the same weights were tested on the same pairs."""
        context = self.context
        found: dict[tuple[int, int], int] = {}
        for weights, group, run in zip(context.weights[model], context.test_groups[benchmark], context.runs[model]):
            found.setdefault((weights, group), run)
        return list(found.values())


class Evaluations(Measurements):
    """The scores of every model in every run.

    Args:
        scores: model to run to the path of its scores.
        training_sets, context: as for :class:`Measurements`.
    """

    metrics = METRICS

    def __init__(self, scores: dict[str, dict[int, str]], training_sets: list[str], context: ReportContext):
        super().__init__(training_sets, context)
        self._tables = {
            (model, run, benchmark): table
            for model, paths in scores.items()
            for run, path in paths.items()
            for benchmark, table in read_table(path).groupby("benchmark")
        }

    def metric_name(self, benchmark, metric):
        return metric if metric == "AUC" else self.context.metric(benchmark)

    def table(self, model: str, benchmark: str, run: int) -> pd.DataFrame:
        """Scores of one run: ``a, b, same, fold, score, identity_a, identity_b``."""
        return self._tables[model, run, benchmark]

    def rates(self, model: str, benchmark: str, fars: np.ndarray) -> list[Estimate]:
        """The true accept rate at each of ``fars``, over all runs of a model."""
        found = []
        for run in self._different(model, benchmark):
            table = self.table(model, benchmark, run)
            rates, influences = significance.true_accept_rates(table.score.to_numpy(), table.same.to_numpy(), fars)
            found.append([self._as_run(benchmark, run, each, _pairs(table)) for each in zip(rates, influences)])
        return [significance.estimate(list(runs)) for runs in zip(*found)]

    def run(self, model, benchmark, metric, run):
        table = self.table(model, benchmark, run)
        return self._as_run(benchmark, run, measure(table, metric, self.context.far[benchmark]), _pairs(table))


def _pairs(table: pd.DataFrame) -> Pairs:
    return Pairs(table.same.to_numpy(), table.identity_a.to_numpy(), table.identity_b.to_numpy())


def _left_out(training_sets: list[np.ndarray]) -> list[float]:
    """Size of what each round leaves out of training relative to what it trains on, from the rows of each round."""
    everything = len(np.unique(np.concatenate(training_sets)))
    return [(everything - len(rows)) / len(rows) for rows in training_sets]


def basis(runs: list[Run]) -> str:
    """What an interval rests on: ``12 people in 5 runs``, ``4 rounds of 10 people``."""
    rounds, groups = len({run.round for run in runs}), len({run.test_group for run in runs})
    tested = sorted({run.pairs.num_identities for run in runs})
    number = f"{tested[0]:,}" if len(tested) == 1 else f"{tested[0]:,} to {tested[-1]:,}"
    each = f", {len(runs) // rounds} runs each" if len(runs) > rounds else ""
    if groups > 1:
        return f"{rounds} rounds of {number} people{each}"
    if rounds > 1:
        return f"{number} people in {rounds} rounds{each}"
    return f"{number} people in {len(runs)} run{'s' * (len(runs) > 1)}"
