"""The findings of a study: sentences and comparisons derived from its numbers."""

import html
import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.evaluation import significance
from triplet_distillation.evaluation.verification import read_metrics
from triplet_distillation.files import read_json, read_table, write_table, write_text
from triplet_distillation.reporting import pages
from triplet_distillation.reporting.context import METHOD_PREFIX, ReportContext, distance_name
from triplet_distillation.reporting.tables import PERCENT, correct_on, read_scores

MIN_ACTIVE_PERCENT = 1
"""Mean fraction of active triplets, in percent, below which a second stage has nothing to learn."""


class StudyResults(NamedTuple):
    """Model to its paths, one per seed: ``scores``, ``metrics``, and for the second stage ``histories``."""

    scores: dict[str, list[str]]
    metrics: dict[str, list[str]]
    histories: dict[str, list[str]]


class MeanMetrics(NamedTuple):
    """Means over seeds."""

    accuracy: float
    auc: float


def compare_models(scores: dict[str, list[str]], context: ReportContext) -> pd.DataFrame:
    """Compare every second-stage method with the student it starts from and with every other method.

    The interval is a paired bootstrap over seeds and pairs; the p-value is McNemar's for
    the first seed, corrected by Holm's method over the whole table.

    Returns:
        One row per benchmark and comparison: ``benchmark, a, b, difference, low, high, p,
        p_corrected, verdict``; the difference is the accuracy of A minus that of B, in percentage points.
    """
    tables = read_scores(scores)
    methods = [model for model in tables if model.startswith(METHOD_PREFIX)]
    claims = [(method, "student") for method in methods] + list(itertools.combinations(reversed(methods), 2))
    rows = []
    for benchmark, (a, b) in itertools.product(context.benchmarks, claims):
        correct_a, same = correct_on(tables[a], benchmark)
        correct_b, _ = correct_on(tables[b], benchmark)
        difference = correct_a.astype(float) - correct_b.astype(float)
        interval = significance.bootstrap(difference, same, context.resamples, context.seed)
        mean, low, high = (PERCENT * value for value in interval)
        p = significance.mcnemar(correct_a[0], correct_b[0])
        rows.append([benchmark, context.labels[a], context.labels[b], mean, low, high, p])
    table = pd.DataFrame(rows, columns=["benchmark", "a", "b", "difference", "low", "high", "p"])
    table["p_corrected"] = significance.holm(table.p.to_numpy())
    table["verdict"] = [
        significance.verdict(difference, p) for difference, p in zip(table.difference, table.p_corrected)
    ]
    return table


def write_findings(
    results: StudyResults, margins: dict[str, str], context: ReportContext, csv: str, html_page: str
) -> None:
    """Write the page of findings, and the comparisons as a table.

    Args:
        results: scores, metrics and histories of the models.
        margins: distance to the path of its calibration.
        context: display names; how confidence intervals are computed.
        csv, html_page: outputs.
    """
    comparisons = compare_models(results.scores, context)
    write_table(csv, comparisons)
    means = {model: _mean_metrics(paths, context.benchmarks) for model, paths in results.metrics.items()}
    sentences = []
    for benchmark, label in context.benchmarks.items():
        sentences += _about_teacher(label, means["teacher"][benchmark], means["student"][benchmark])
        sentences += _about_methods(label, benchmark, means, context.labels)
    sentences += _about_margins(margins) + _about_activity(results.histories, context.labels)
    write_text(
        html_page,
        pages.page(
            "Findings",
            pages.notes(sentences),
            "<h2>Which differences are supported</h2>",
            _comparison_table(comparisons, context.benchmarks),
            pages.notes(
                [
                    "The interval is a paired bootstrap over pairs (and over seeds, if there are several); p is from "
                    "McNemar's exact test for the first seed, corrected for multiple comparisons (Holm).",
                    "Pairs share images and identities, so there are fewer independent observations than pairs.",
                ]
            ),
        ),
    )


def _mean_metrics(paths: list[str], benchmarks: dict[str, str]) -> dict[str, MeanMetrics]:
    """Benchmark to one model's means over seeds."""
    each = [read_metrics(path) for path in paths]
    return {
        benchmark: MeanMetrics(
            float(np.mean([found[benchmark].accuracy for found in each])),
            float(np.mean([found[benchmark].auc for found in each])),
        )
        for benchmark in benchmarks
    }


def _comparison_table(comparisons: pd.DataFrame, benchmarks: dict[str, str]) -> str:
    cells = [
        [
            html.escape(f"{row['a']} against {row['b']}"),
            html.escape(benchmarks[row["benchmark"]]),
            f'{_signed(row.difference)} <span class="interval">{_signed(row.low)} to {_signed(row.high)}</span>',
            _p_value(row["p"]),
            _p_value(row["p_corrected"]),
            row["verdict"],
        ]
        for _, row in comparisons.iterrows()
    ]
    header = ["A against B", "benchmark", "percentage points, 95% interval", "McNemar p", "p, Holm", "“A beats B” is"]
    return pages.table(header, cells)


def _about_teacher(benchmark: str, teacher: MeanMetrics, student: MeanMetrics) -> list[str]:
    numbers = (
        f"on {benchmark}, the teacher has an accuracy of {PERCENT * teacher.accuracy:.2f}% and an AUC of "
        f"{teacher.auc:.4f}, the student {PERCENT * student.accuracy:.2f}% and {student.auc:.4f}"
    )
    if teacher.accuracy < student.accuracy or teacher.auc < student.auc:
        return [
            f"Warning: the teacher is worse than the student that it is meant to teach: {numbers}. Train it "
            "longer or, if it is pretrained, check its color order and pixel normalization."
        ]
    return [f"The teacher is at least as good as the student: {numbers}."]


def _about_methods(
    label: str, benchmark: str, means: dict[str, dict[str, MeanMetrics]], labels: dict[str, str]
) -> list[str]:
    student = means["student"][benchmark].accuracy
    changes = {
        labels[model].removeprefix("+ "): PERCENT * (means[model][benchmark].accuracy - student)
        for model in means
        if model.startswith(METHOD_PREFIX)
    }
    worst_name = min(changes, key=changes.__getitem__)
    listed = "; ".join(f"{name}: {_signed(change)}" for name, change in changes.items())
    sentences = [f"Change in accuracy from the second stage on {label}, in percentage points: {listed}."]
    if (loss := -changes[worst_name]) > 3:
        sentences.append(
            f"Warning: {worst_name} lost {loss:.2f} percentage points on {label}: lower its learning_rate."
        )
    return sentences


def _about_margins(margins: dict[str, str]) -> list[str]:
    return [
        f"Margins in {distance_name(distance)} distance: measured {found['measured'][0]:.3f} to "
        f"{found['measured'][1]:.3f}, in the paper {found['paper'][0]} to {found['paper'][1]}; trained with "
        f"{found['min_margin']:.3f} to {found['max_margin']:.3f} (mode {found['mode']})."
        for distance, found in ((distance, read_json(path)) for distance, path in margins.items())
    ]


def _about_activity(histories: dict[str, list[str]], labels: dict[str, str]) -> list[str]:
    sentences = []
    for model, paths in histories.items():
        history = read_table(paths[0])
        if "active" in history:
            first, last = PERCENT * history.active.iloc[0], PERCENT * history.active.iloc[-1]
            name = labels[model].removeprefix("+ ")
            sentences.append(f"{name}: {first:.1f}% of triplets active at the first step, {last:.1f}% at the last.")
            if PERCENT * history.active.mean() < MIN_ACTIVE_PERCENT:
                sentences.append(
                    f"Warning: {name} had almost nothing to learn: fewer than {MIN_ACTIVE_PERCENT}% of its triplets "
                    "were active. Start from a student that was trained for fewer steps, or increase the margins."
                )
    return sentences


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
