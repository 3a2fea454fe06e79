"""The study's tables: CSV for programs, HTML for the report, LaTeX for papers."""

import html
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.evaluation import significance
from triplet_distillation.evaluation.significance import Run
from triplet_distillation.evaluation.verification import VerificationMetrics, read_metrics
from triplet_distillation.files import read_json, write_text
from triplet_distillation.reporting import pages, paper
from triplet_distillation.reporting.context import METHOD_PREFIX, PERCENT, ReportContext, short_name
from triplet_distillation.reporting.runs import Evaluations, basis
from triplet_distillation.tabular import read_table, write_table


class TableFiles(NamedTuple):
    """Paths of one table's outputs."""

    csv: str
    html: str
    tex: str


def write_table1(profiles: dict[str, str], roles: dict[str, str], outputs: TableFiles) -> None:
    """Table 1: the cost of the networks, with the paper's numbers and the ratios.

    Args:
        profiles: network to the path of its profile (JSON), in the order of the rows.
        roles: the study's ``teacher`` and ``student`` to their networks.
        outputs: paths.
    """
    columns = ["size_mib", "parameters", "flops", "flops_elementwise", "macs", "seconds_per_image"]
    rows = []
    for network, path in profiles.items():
        found, printed = read_json(path), paper.TABLE_1.get(network, {})
        row = {"network": network, **{column: found[column] for column in columns}}
        for column in ("size_mib", "parameters", "flops", "seconds_per_image"):
            row[f"paper_{column}"] = printed.get(column, np.nan)
            row[f"ratio_{column}"] = found[column] / printed[column] if printed else np.nan
        rows.append(row)
    table = pd.DataFrame(rows)
    write_table(outputs.csv, table)
    runs = read_json(next(iter(profiles.values())))["runs"]
    write_text(outputs.html, _table1_page(table, roles, runs))
    write_text(outputs.tex, pages.latex(_table1_in_print(table)))


TABLE_1_TITLE = "Table 1. Cost of the networks"
TABLE_1_COLUMNS = (
    ("size_mib", "size, MiB", 1, "{:.1f}"),
    ("parameters", "parameters, 10⁶", 1e6, "{:.2f}"),
    ("flops", "FLOPs, 10⁹", 1e9, "{:.2f}"),
    ("seconds_per_image", "s/image, 1 thread", 1, "{:.3f}"),
)


def _table1_in_print(table: pd.DataFrame) -> pages.Table:
    """Without ratios and further counts, which would not fit on a page of paper."""
    header, groups, rows = ["network"], [("", 1)], []
    for _, head, _, _ in TABLE_1_COLUMNS:
        header += ["here", "paper"]
        groups.append((head, 2))
    for _, row in table.iterrows():
        cells = [html.escape(row.network)]
        for column, _, unit, form in TABLE_1_COLUMNS:
            cells += [form.format(row[column] / unit), _or_dash(row[f"paper_{column}"] / unit, form)]
        rows.append(cells)
    return pages.Table(header, rows, groups, TABLE_1_TITLE)


def _table1_page(table: pd.DataFrame, roles: dict[str, str], runs: int) -> str:
    header, groups = ["network"], [("", 1)]
    for _, head, _, _ in TABLE_1_COLUMNS:
        header += ["here", "paper", "ratio"]
        groups.append((head, 3))
    header += ["with element-wise", "multiply-adds"]
    groups.append(("in addition, 10⁹", 2))
    rows = []
    for _, row in table.iterrows():
        own = " and ".join(role for role, network in roles.items() if network == row.network)
        cells = [html.escape(row.network) + f' <br><span class="unit">this study\'s {own}</span>' * bool(own)]
        for column, _, unit, form in TABLE_1_COLUMNS:
            cells += [form.format(row[column] / unit), _or_dash(row[f"paper_{column}"] / unit, form)]
            cells.append(_or_dash(row[f"ratio_{column}"], "{:.2f}"))
        rows.append([*cells, f"{row.flops_elementwise / 1e9:.2f}", f"{row.macs / 1e9:.2f}"])
    return pages.page(
        TABLE_1_TITLE,
        pages.paragraph(
            f"For one 112×112 image; the time is the mean of {runs} runs on the machine that ran the study, with the C "
            "library's default allocator (keep_memory off)."
        ),
        pages.table(header, rows, groups, TABLE_1_TITLE),
        pages.notes(paper.TABLE_1_NOTES),
    )


def _or_dash(value: float, form: str) -> str:
    return "–" if np.isnan(value) else form.format(value)


class TrainingSize(NamedTuple):
    """Size of the training: faces and identities, on average over ``rounds``, and the number of ``runs``."""

    images: int
    identities: int
    rounds: int
    runs: int


def write_table2(evaluations: Evaluations, training_sets: list[str], protocols: list[str], outputs: TableFiles) -> None:
    """Table 2: mean accuracy (or TAR) in percent of every model on every benchmark, with its 95% confidence interval.

    Args:
        evaluations: of every model, in the order of the rows.
        protocols: what the numbers are about, in words.
        training_sets: paths of the tables ``row, label``, one per round.
        outputs: paths.
    """
    context = evaluations.context
    rows, notes = [], {}
    for model in context.runs:
        row: dict[str, Any] = {"model": short_name(model), "label": context.labels[model]}
        for benchmark in context.benchmarks:
            runs = evaluations.runs(model, benchmark, "own")
            row |= rate_columns(benchmark, runs)
            notes.setdefault((benchmark, basis(runs)), []).append(context.labels[model])
        rows.append(row)
    table = pd.DataFrame(rows)
    write_table(outputs.csv, table)
    faces = [read_table(path).label for path in training_sets]
    size = TrainingSize(
        round(np.mean([len(labels) for labels in faces])),
        round(np.mean([labels.nunique() for labels in faces])),
        len(faces),
        len(context.seeds),
    )
    shown = _table2(table, context)
    write_text(outputs.html, _table2_page(shown, size, [*protocols, *_bases(notes, context)]))
    write_text(outputs.tex, pages.latex(shown))


def rate_columns(benchmark: str, runs: list[Run]) -> dict[str, float]:
    """A benchmark's columns ``<benchmark>``, ``<benchmark>_low`` and ``<benchmark>_high``, in percent."""
    found = significance.rate_interval(significance.estimate(runs))
    names = (benchmark, f"{benchmark}_low", f"{benchmark}_high")
    return {name: PERCENT * value for name, value in zip(names, found)}


def _bases(notes: dict[tuple[str, str], list[str]], context: ReportContext) -> list[str]:
    """What the intervals rest on, one sentence per benchmark and group of models."""
    sentences = []
    for (benchmark, tested), labels in notes.items():
        names = "" if len(labels) == len(context.runs) else f" ({'; '.join(labels)})"
        sentences.append(f"{context.benchmarks[benchmark]}{names}: {tested}.")
    return sentences


def _table2(table: pd.DataFrame, context: ReportContext) -> pages.Table:
    rows = []
    for _, row in table.iterrows():
        cells = [html.escape(row.label)]
        for benchmark in context.benchmarks:
            cells.append(pages.rate(row[benchmark], row[f"{benchmark}_low"], row[f"{benchmark}_high"]))
        rows.append(cells)
    students = [place for place, model in enumerate(context.runs) if is_student(model)]
    best = pages.Best(dict.fromkeys(range(1, 1 + len(context.benchmarks)), "higher"), students, "of the students")
    return pages.Table(["model", *headings(context)], rows, None, TABLE_2_TITLE, best)


TABLE_2_TITLE = "Table 2. Verification accuracy, percent"


def is_student(model: str) -> bool:
    """Whether ``model`` is the student of the first stage or of a method, not a teacher or a further model."""
    return model == "student" or model.startswith(METHOD_PREFIX)


def _table2_page(shown: pages.Table, size: TrainingSize, remarks: list[str]) -> str:
    printed = [[html.escape(model), *(f"{each:.2f}" for each in row)] for model, row in paper.TABLE_2.items()]
    rounds = f", in each of {size.rounds} rounds" if size.rounds > 1 else ""
    one_run = " Of one training, they cover the choice of the test people alone." * (size.runs == size.rounds == 1)
    return pages.page(
        TABLE_2_TITLE,
        pages.paragraph(
            f"Trained on {size.images:,} faces of {size.identities:,} identities{rounds}, in {size.runs} "
            f"run{'s' * (size.runs > 1)}. The paper trained on 3.8 million images of 85 thousand identities; results "
            "from a smaller training set are not comparable with its numbers.",
            "lead",
        ),
        pages.table(*shown),
        pages.paragraph(
            "Mean over pairs and runs; in gray, the 95% confidence interval. Its units are people and training runs: "
            f"it says what other test people and another training would change.{one_run}"
        ),
        pages.notes(remarks),
        '<div class="apart"><h2>As printed in the paper, for reference only</h2>',
        pages.table(["model", *paper.TABLE_2_BENCHMARKS], printed, title="Table 2 of the paper"),
        pages.notes(paper.TABLE_2_NOTES),
        "</div>",
    )


def headings(context: ReportContext) -> list[str]:
    """A benchmark's name, with its metric where that is not the accuracy of the title."""
    return [
        html.escape(label if context.far[benchmark] is None else f"{label}, {context.metric(benchmark)}")
        for benchmark, label in context.benchmarks.items()
    ]


def write_verification_table(
    metrics: dict[str, dict[int, str]], context: ReportContext, protocols: list[str], outputs: TableFiles
) -> None:
    """All metrics of every model, seed and benchmark: k-fold accuracy, AUC, EER, TAR at FAR.

    Args:
        metrics: model to run to the path of its metrics (JSON).
        context: display names.
        protocols: what the numbers are about, in words.
        outputs: paths.
    """
    rows = [
        {
            "model": short_name(model),
            "seed": run,
            "benchmark": benchmark,
            "label": context.labels[model],
            **_verification_columns(found),
        }
        for model, paths in metrics.items()
        for run, path in paths.items()
        for benchmark, found in read_metrics(path).items()
    ]
    table = pd.DataFrame(rows)
    write_table(outputs.csv, table)
    fars = [column for column in table.columns if column.startswith("tar_at_far_")]
    heads = [f"TAR at FAR {column.removeprefix('tar_at_far_')}" for column in fars]
    parts, shown = [], []
    for benchmark, label in context.benchmarks.items():
        chosen = table[table.benchmark == benchmark]
        first = chosen.iloc[0]
        folds = f"{first.folds} fold{'s' if first.folds > 1 else ''}"
        cells = [
            [
                html.escape(row.label),
                str(row.seed),
                _accuracy(row),
                f"{row.auc:.4f}",
                f"{PERCENT * row.equal_error_rate:.2f}",
                *("–" if pd.isna(row[far]) else f"{PERCENT * row[far]:.2f}" for far in fars),
            ]
            for _, row in chosen.iterrows()
        ]
        header = ["model", "seed", "accuracy ± std over folds, %", "AUC", "EER, %", *heads]
        shown.append(pages.Table(header, cells, None, f"All verification metrics: {label}"))
        parts += [
            f"<h2>{html.escape(label)}</h2>",
            pages.paragraph(f"{first.genuine:,} genuine and {first.impostor:,} impostor pairs in {folds}."),
            pages.table(*shown[-1]),
        ]
    remarks = [
        *protocols,
        "Accuracy is the mean over pairs, each at its fold's threshold; std is the standard deviation over folds.",
        "TAR in percent; a dash if there are fewer than 10 / FAR impostor pairs.",
        "Every line is a single run, so no best value is marked: Table 2 has the means over the runs.",
    ]
    write_text(outputs.html, pages.page("All verification metrics", *parts, pages.notes(remarks)))
    write_text(outputs.tex, pages.latex(*shown))


def _accuracy(row) -> str:
    """Mean and standard deviation over folds; a dash for pairs without folds."""
    if pd.isna(row.accuracy):
        return "–"
    return f'{PERCENT * row.accuracy:.2f} <span class="interval">± {PERCENT * row.accuracy_std:.2f}</span>'


def _verification_columns(found: VerificationMetrics) -> dict[str, Any]:
    return {
        "accuracy": found.accuracy,
        "accuracy_std": found.accuracy_std,
        "auc": found.auc,
        "equal_error_rate": found.equal_error_rate,
        **{f"tar_at_far_{far}": tar for far, tar in found.tar_at_far.items()},
        "pairs": found.pairs,
        "genuine": found.genuine,
        "impostor": found.impostor,
        "folds": found.folds,
    }
