"""The findings of a study: sentences and comparisons derived from its numbers."""

import html
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.evaluation import significance
from triplet_distillation.files import read_json, write_json, write_text
from triplet_distillation.reporting import pages
from triplet_distillation.reporting.context import METHOD_PREFIX, PERCENT, ReportContext, distance_name
from triplet_distillation.reporting.runs import METRICS, Evaluations, Measurements, basis
from triplet_distillation.reporting.tables import TableFiles
from triplet_distillation.tabular import read_table, write_table

WARNING = "Warning: "
"""Starts a sentence about a stage that went wrong."""
MIN_ACTIVE_PERCENT = 1
"""Mean fraction of active triplets, in percent, below which a second stage has nothing to learn."""


MAX_LOSS = 3
"""Percentage points that a second stage may lose before the page warns."""
ENOUGH_RUNS = 5
"""With fewer, the page says what a family of claims risks."""


LISTED_METHODS = 8
"""With more, the page does not list the change of every method: the table of methods does."""


class TrainingFacts(NamedTuple):
    """Paths, one per run: ``histories`` of every method, ``margins`` (the calibration) of every distance; and the
    methods (models) that train ``from_scratch``."""

    histories: dict[str, list[str]]
    margins: dict[str, list[str]]
    from_scratch: list[str]


class MeanMetrics(NamedTuple):
    """Means over runs of the benchmark's ``own`` metric and of the AUC."""

    own: float
    auc: float


def compare_models(evaluations: Measurements, claims: list[tuple[str, str]], scale: float = PERCENT) -> pd.DataFrame:
    """Judge every claim "A beats B" on every benchmark, by every metric: its own (accuracy, or TAR at FAR) and AUC.

    Difference, interval, p-value and verdict come from one statistic (:mod:`.significance`); all p-values are one
    family, corrected by Holm's method.

    Args:
        evaluations: of every model.
        claims: pairs of models (A, B).
        scale: differences are multiplied by it.

    Returns:
        One row per benchmark, claim and metric: ``benchmark, a, b, metric, difference, low, high, p, p_corrected,
        detectable, verdict, basis, runs, rounds``. The difference is A's metric minus B's (in percentage points);
        ``detectable`` is the smallest that would have been found with 80% power. Too few runs or people give no
        interval, no p and no verdict.
    """
    labels = evaluations.context.labels
    rows, estimates = [], []
    for benchmark in evaluations.context.benchmarks:
        for a, b in claims:
            for metric in evaluations.metrics:
                runs = evaluations.differences(a, b, benchmark, metric)
                found, missing = significance.estimate(runs), significance.reason_for_no_verdict(runs)
                interval = significance.interval(found)
                low, high = (np.nan, np.nan) if missing else (interval.low, interval.high)
                rows.append(
                    {
                        "benchmark": benchmark,
                        "a": labels[a],
                        "b": labels[b],
                        "metric": evaluations.metric_name(benchmark, metric),
                        "difference": scale * found.mean,
                        "low": scale * low,
                        "high": scale * high,
                        "p": np.nan if missing else significance.p_value(found),
                        "verdict": f"no verdict: {missing}" if missing else "",
                        "basis": basis(runs),
                        "runs": len(runs),
                        "rounds": len({run.round for run in runs}),
                    }
                )
                estimates.append(found)
    table = pd.DataFrame(rows)
    judged = table.p.notna()
    table["p_corrected"], table["detectable"] = np.nan, np.nan
    if judged.any():
        table.loc[judged, "p_corrected"] = significance.holm(table.p[judged].to_numpy())
        level = significance.LEVEL / judged.sum()
        table["detectable"] = [
            scale * significance.detectable(found, level) if used else np.nan for found, used in zip(estimates, judged)
        ]
        table.loc[judged, "verdict"] = [
            significance.verdict(difference, p)
            for difference, p in zip(table.difference[judged], table.p_corrected[judged])
        ]
    columns = ["benchmark", "a", "b", "metric", "difference", "low", "high", "p", "p_corrected", "detectable"]
    return table[[*columns, "verdict", "basis", "runs", "rounds"]]


def read_comparisons(path: str | Path) -> pd.DataFrame:
    """What :func:`compare_models` returned, from its file."""
    return read_table(path, text=("benchmark", "a", "b", "metric", "verdict", "basis"))


class AboutNumbers(NamedTuple):
    """Sentences about what the numbers mean: who was trained on (``split``), how it was tested (``protocols``)."""

    split: list[str]
    protocols: list[str]


def write_findings(
    evaluations: Evaluations,
    claims: list[tuple[str, str]],
    training: TrainingFacts,
    about: AboutNumbers,
    outputs: TableFiles,
    sentences_file: str,
) -> None:
    """Write the page of findings, and the comparisons as a table.

    Args:
        evaluations: of every model.
        claims: pairs of models (A, B); the first ones open the page.
        training: what the runs logged, and where methods start.
        about: what the numbers mean.
        outputs: paths of the comparisons and of the page.
        sentences_file: path of the page's sentences, and of those about the split (JSON), for others to quote.
    """
    context = evaluations.context
    comparisons = compare_models(evaluations, claims)
    write_table(outputs.csv, comparisons)
    shown = _comparison_table(comparisons, context.benchmarks)
    write_text(outputs.tex, pages.latex(shown))
    sentences = _headlines(comparisons, context)
    for benchmark, label in context.benchmarks.items():
        means = {model: _mean_metrics(evaluations, model, benchmark) for model in context.runs}
        metric = context.metric(benchmark)
        sentences += _about_teacher(label, metric, means["teacher"], means["student"])
        students = {model: found for model, found in means.items() if model.startswith(METHOD_PREFIX)}
        changes = {model: PERCENT * (found.own - means["student"].own) for model, found in students.items()}
        sentences += _about_methods(label, metric, changes, training.from_scratch, context.labels)
    sentences += _about_margins(training.margins) + _about_training(training.histories, context.labels)
    write_json(sentences_file, {"sentences": sentences, "split": about.split})
    write_text(
        outputs.html,
        pages.page(
            "Findings",
            pages.notes(sentences),
            "<h2>Which claims are supported</h2>",
            pages.table(*shown),
            pages.notes([*_explanations(comparisons), *about.split, *about.protocols]),
        ),
    )


def _headlines(comparisons: pd.DataFrame, context: ReportContext) -> list[str]:
    """The first claim on every benchmark, in words."""
    sentences = []
    for benchmark, rows in comparisons.groupby("benchmark", sort=False):
        first = rows[(rows.a == rows.a.iloc[0]) & (rows.b == rows.b.iloc[0])]
        judged = "; ".join(
            f"{row.metric} {pages.signed(row.difference)} points{_range(row)}, {row.verdict}"
            for _, row in first.iterrows()
        )
        a, b = (name.removeprefix("+ ") for name in (first.a.iloc[0], first.b.iloc[0]))
        label, tested = context.benchmarks[str(benchmark)], first.basis.iloc[0]
        sentences.append(f"On {label}, {a} against {b} ({tested}): {judged}.")
    return sentences


def _range(row) -> str:
    if np.isnan(row.low):
        return ""
    shown = f" (95% interval {pages.signed(row.low)} to {pages.signed(row.high)}"
    could = f"; a difference of {row.detectable:.2f} could have been shown)"
    return shown + (could if row.verdict == "undecided" else ")")


def _explanations(comparisons: pd.DataFrame) -> list[str]:
    bases = "; ".join(dict.fromkeys(comparisons.basis))
    judged = comparisons[comparisons.p.notna() & (comparisons.rounds == 1)]
    few = [
        "There are few runs: without any true difference, up to one study in five with three runs, or one in nine "
        "with four, has a false verdict somewhere in a table of nine claims; with five, one in twelve (simulated)."
    ]
    return few * bool((judged.runs < ENOUGH_RUNS).any()) + [
        f"Tested: {bases}. The units are people and training runs, not pairs: the interval contains what other "
        "people and other runs would change.",
        "p is corrected over all claims, benchmarks and metrics of this table (Holm). An interval is not corrected: it "
        "may exclude zero although the claim is undecided.",
        "“Could be shown” is the smallest difference that this study would have found with 80% power, at the "
        "strictest level of the correction.",
        "A verdict holds for this training set and, where runs share a teacher or student, for this one. Rounds "
        "include the choice of the training set, except for what all their training sets have in common.",
    ]


def _mean_metrics(evaluations: Evaluations, model: str, benchmark: str) -> MeanMetrics:
    return MeanMetrics(*(significance.estimate(evaluations.runs(model, benchmark, metric)).mean for metric in METRICS))


def _comparison_table(comparisons: pd.DataFrame, benchmarks: dict[str, str]) -> pages.Table:
    cells = [
        [
            html.escape(f"{row.a} against {row.b}"),
            " " + html.escape(row.verdict),
            html.escape(benchmarks[row.benchmark]),
            row.metric,
            f"{pages.signed(row.difference)}{pages.interval_of_difference(row.low, row.high)}",
            pages.p_value(row.p),
            pages.p_value(row.p_corrected),
            "–" if np.isnan(row.detectable) else f"{row.detectable:.2f}",
        ]
        for _, row in comparisons.iterrows()
    ]
    header = ["A against B", "“A beats B” is", "benchmark", "metric", "percentage points, 95% interval", "p", "p, Holm"]
    header += ["could be shown"]
    return pages.Table(header, cells, None, "Which claims are supported")


def _about_teacher(benchmark: str, metric: str, teacher: MeanMetrics, student: MeanMetrics) -> list[str]:
    numbers = (
        f"on {benchmark}, the teacher has {_with_article(metric)} of {PERCENT * teacher.own:.2f}% and an AUC of "
        f"{teacher.auc:.4f}, the student {PERCENT * student.own:.2f}% and {student.auc:.4f}"
    )
    if teacher.own < student.own or teacher.auc < student.auc:
        return [
            f"{WARNING}the teacher is worse than the student that it is meant to teach: {numbers}. Train it "
            "longer or, if it is pretrained, check its color order and pixel normalization."
        ]
    return [f"The teacher is at least as good as the student: {numbers}."]


def _with_article(metric: str) -> str:
    return f"an {metric}" if metric == "accuracy" else f"a {metric}"


def _about_methods(
    label: str, metric: str, changes: dict[str, float], from_scratch: list[str], labels: dict[str, str]
) -> list[str]:
    """How far methods end from the student of the first stage, and which end below it."""
    named = {model: f"{labels[model].removeprefix('+ ')}: {pages.signed(change)}" for model, change in changes.items()}
    sentences = []
    if len(changes) <= LISTED_METHODS:
        listed = "; ".join(named.values())
        sentences.append(f"Change in {metric} from the student on {label}, in percentage points: {listed}.")
    below = [model for model in changes if changes[model] < 0]
    started = [named[model] for model in below if model not in from_scratch]
    scratch = [named[model] for model in below if model in from_scratch]
    if started:
        sentences.append(f"End below the student that they start from on {label}: {'; '.join(started)}.")
    if scratch:
        sentences.append(
            f"Trained from scratch, and below the student of the first stage on {label}: {'; '.join(scratch)}."
        )
    if not below:
        sentences.append(f"No method ends below the student of the first stage on {label}.")
    sentences += [
        f"{WARNING}{labels[model].removeprefix('+ ')} lost {-changes[model]:.2f} percentage points on {label}: lower "
        "its learning_rate."
        for model in below
        if model not in from_scratch and changes[model] < -MAX_LOSS
    ]
    return sentences


def _about_margins(margins: dict[str, list[str]]) -> list[str]:
    sentences = []
    for distance, paths in margins.items():
        each = [read_json(path) for path in paths]
        measured = np.mean([found["measured"] for found in each], axis=0)
        calibrated = np.mean([(found["min_margin"], found["max_margin"]) for found in each], axis=0)
        low, high = each[0]["paper"]
        over_runs = ", on average over the runs" if len(each) > 1 else ""
        sentences.append(
            f"Margins in {distance_name(distance)} distance{over_runs}: measured {measured[0]:.3f} to "
            f"{measured[1]:.3f}, in the paper {low} to {high}; calibrated {calibrated[0]:.3f} to {calibrated[1]:.3f} "
            f"(mode {each[0]['mode']})."
        )
    return sentences


def _about_training(histories: dict[str, list[str]], labels: dict[str, str]) -> list[str]:
    """Margins and active triplets of the second stage, on average over the runs."""
    sentences = []
    for model, paths in histories.items():
        each = [read_table(path) for path in paths]
        if "active" not in each[0]:
            continue
        first, last, mean = (
            PERCENT * float(np.mean([number(history.active) for history in each]))
            for number in (lambda active: active.iloc[0], lambda active: active.iloc[-1], lambda active: active.mean())
        )
        name, margin = labels[model].removeprefix("+ "), ""
        if "margin" in each[0]:
            margin = f"mean margin {np.mean([history.margin.mean() for history in each]):.2f}; "
        activity = f"{first:.1f}% of triplets active at the first step, {last:.1f}% at the last"
        sentences.append(f"{name}: {margin}{activity}.")
        if mean < MIN_ACTIVE_PERCENT:
            sentences.append(
                f"{WARNING}{name} had almost nothing to learn: fewer than {MIN_ACTIVE_PERCENT}% of its triplets "
                "were active. Start from a student that was trained for fewer steps, or increase the margins."
            )
    return sentences
