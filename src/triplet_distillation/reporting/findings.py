"""What the study says, in sentences and comparisons that come from its numbers."""

import html
import itertools

import numpy as np
import pandas as pd

from triplet_distillation.evaluation import significance
from triplet_distillation.files import read_json, read_table, write_table, write_text
from triplet_distillation.reporting import pages
from triplet_distillation.reporting.names import distance_name
from triplet_distillation.reporting.tables import PERCENT, correct_on, read_scores

LEAST_ACTIVE = 1
"""Mean share of active triplets, in percent, below which a second stage has nothing to learn."""


def compare_models(
    scores: dict[str, list[str]], labels: dict[str, str], benchmarks: dict[str, str], settings: dict
) -> pd.DataFrame:
    """Every second-stage method against the student it started from, and against every other, on every benchmark.

    The interval is a paired bootstrap over seeds and pairs; the p-value is McNemar's on
    the first seed, corrected by Holm over the whole table.

    Returns:
        ``benchmark, a, b, difference, low, high, p, p_corrected, verdict``, the difference
        being the accuracy of A minus B in points.
    """
    tables = read_scores(scores)
    methods = [model for model in tables if model.startswith("students/")]
    claims = [(method, "student") for method in methods] + list(itertools.combinations(reversed(methods), 2))
    rows = []
    for benchmark, (a, b) in itertools.product(benchmarks, claims):
        correct_a, same = correct_on(tables[a], benchmark)
        correct_b, _ = correct_on(tables[b], benchmark)
        difference = correct_a.astype(float) - correct_b.astype(float)
        interval = significance.bootstrap(difference, same, settings["resamples"], settings["seed"])
        mean, low, high = (PERCENT * value for value in interval)
        p = significance.mcnemar(correct_a[0], correct_b[0])
        rows.append([benchmark, labels[a], labels[b], mean, low, high, p])
    table = pd.DataFrame(rows, columns=["benchmark", "a", "b", "difference", "low", "high", "p"])
    table["p_corrected"] = significance.holm(table.p.to_numpy())
    table["verdict"] = [
        significance.verdict(difference, p) for difference, p in zip(table.difference, table.p_corrected)
    ]
    return table


def write_findings(
    scores: dict[str, list[str]],
    figures: dict[str, list[str]],
    histories: dict[str, list[str]],
    margins: dict[str, str],
    labels: dict[str, str],
    benchmarks: dict[str, str],
    settings: dict,
    csv: str,
    html_page: str,
) -> None:
    """The page of findings, and the comparisons as a table.

    Args:
        scores, figures: model to its paths, one a seed.
        histories: second-stage model to the paths of its histories, one a seed.
        margins: distance to the path of its calibration.
        labels, benchmarks: names for readers.
        settings: ``resamples, seed``.
        csv, html_page: outputs.
    """
    comparisons = compare_models(scores, labels, benchmarks, settings)
    write_table(csv, comparisons)
    means = {
        model: {
            benchmark: np.mean([[found[benchmark][key] for key in ("accuracy", "auc")] for found in each], axis=0)
            for benchmark in benchmarks
        }
        for model, each in ((model, [read_json(path) for path in paths]) for model, paths in figures.items())
    }
    sentences = []
    for benchmark, label in benchmarks.items():
        sentences += _about_teacher(label, means["teacher"][benchmark], means["student"][benchmark])
        sentences += _about_methods(label, benchmark, means, labels)
    sentences += _about_margins(margins) + _about_activity(histories, labels)
    write_text(
        html_page,
        pages.page(
            "Findings",
            pages.notes(sentences),
            "<h2>Which differences hold</h2>",
            _comparison_table(comparisons, benchmarks),
            pages.notes(
                [
                    "The interval is a paired bootstrap over pairs (and seeds, where there are several); p is "
                    "McNemar's exact test on the first seed, corrected for the number of comparisons in this table.",
                    "Pairs share photographs and people, so they are fewer independent observations than they look.",
                ]
            ),
        ),
    )


def _comparison_table(comparisons: pd.DataFrame, benchmarks: dict[str, str]) -> str:
    cells = [
        [
            html.escape(f"{row.a} against {row.b}"),
            html.escape(benchmarks[row.benchmark]),
            f'{_signed(row.difference)} <span class="interval">{_signed(row.low)} … {_signed(row.high)}</span>',
            _p_value(row.p),
            _p_value(row.p_corrected),
            row.verdict,
        ]
        for row in comparisons.itertuples()
    ]
    header = ["A against B", "benchmark", "points, 95 % interval", "McNemar p", "p, Holm", "“A beats B” is"]
    return pages.table(header, cells)


def _about_teacher(benchmark: str, teacher, student) -> list[str]:
    numbers = (
        f"on {benchmark} the teacher has accuracy {PERCENT * teacher[0]:.2f} % and AUC {teacher[1]:.4f}, the student "
        f"{PERCENT * student[0]:.2f} % and {student[1]:.4f}"
    )
    if min(teacher - student) < 0:
        return [f"Warning: the teacher is worse than the student that it is to teach: {numbers}. Train it longer."]
    return [f"The teacher is no worse than the student that it is to teach: {numbers}."]


def _about_methods(label: str, benchmark: str, means: dict, labels: dict[str, str]) -> list[str]:
    student = means["student"][benchmark]
    changes = {
        labels[model].removeprefix("+ "): PERCENT * (means[model][benchmark][0] - student[0])
        for model in means
        if model.startswith("students/")
    }
    worst = min(changes.values())
    listed = "; ".join(f"{name}: {_signed(change)}" for name, change in changes.items())
    said = f"Change of accuracy by the second stage on {label}, in points: {listed}."
    return [said] + (
        [f"Warning: a second stage lost {-worst:.2f} points on {label}: lower its learning_rate."] if worst < -3 else []
    )


def _about_margins(margins: dict[str, str]) -> list[str]:
    return [
        f"Margins in {distance_name(distance)} distance: measured {found['measured'][0]:.3f} … "
        f"{found['measured'][1]:.3f}, the paper's {found['paper'][0]} … {found['paper'][1]}; trained with "
        f"{found['minimum_margin']:.3f} … {found['maximum_margin']:.3f} (mode {found['mode']})."
        for distance, found in ((distance, read_json(path)) for distance, path in margins.items())
    ]


def _about_activity(histories: dict[str, list[str]], labels: dict[str, str]) -> list[str]:
    said = []
    for model, paths in histories.items():
        history = read_table(paths[0])
        if "active" in history:
            first, last = PERCENT * history.active.iloc[0], PERCENT * history.active.iloc[-1]
            name = labels[model].removeprefix("+ ")
            said.append(f"{name}: {first:.1f} % of triplets active at the first step, {last:.1f} % at the last.")
            if PERCENT * history.active.mean() < LEAST_ACTIVE:
                said.append(
                    f"Warning: {name} had almost nothing to learn from: fewer than {LEAST_ACTIVE} % of its triplets "
                    "were active. Start it from a student that is trained for less long, or widen the margins."
                )
    return said


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
