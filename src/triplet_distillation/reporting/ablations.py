"""A table of variants: what one other setting of a method changes."""

import html
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.files import write_text
from triplet_distillation.reporting import pages
from triplet_distillation.reporting.context import ReportContext, short_name
from triplet_distillation.reporting.findings import compare_models
from triplet_distillation.reporting.runs import Evaluations
from triplet_distillation.reporting.tables import TableFiles, rate_columns
from triplet_distillation.tabular import write_table


class Ablation(NamedTuple):
    """One ``setting`` of a ``method`` with its ``values``: the model of each value is in ``models``; ``own`` is the
    method's own value."""

    method: str
    setting: str
    own: Any
    values: list[Any]
    models: list[str]


def write_ablations(
    evaluations: Evaluations, ablations: list[Ablation], protocols: list[str], outputs: TableFiles
) -> None:
    """Write every variant's metric, and its difference from the method that it is a variant of.

    The verdicts of all variants on all benchmarks, by both metrics, are one family (Holm).

    Args:
        evaluations: of the variants and their methods.
        ablations: what is varied.
        protocols: what the numbers are about, in words.
        outputs: paths.
    """
    claims = [
        (model, f"students/{each.method}")
        for each in ablations
        for model in each.models
        if model != f"students/{each.method}"
    ]
    judged = compare_models(evaluations, claims)
    table = pd.DataFrame(
        [
            {"method": each.method, "setting": each.setting, "value": str(value), "model": short_name(model)}
            | _numbers(evaluations, judged, model, each)
            for each in ablations
            for value, model in zip(each.values, each.models)
        ]
    )
    write_table(outputs.csv, table)
    shown = [_varied(table, evaluations.context, each) for each in ablations]
    write_text(outputs.html, _page(shown, ablations, protocols))
    write_text(outputs.tex, pages.latex(*shown))


def _numbers(evaluations: Evaluations, judged: pd.DataFrame, model: str, ablation: Ablation) -> dict[str, Any]:
    """A variant's columns for every benchmark."""
    context, base, columns = evaluations.context, f"students/{ablation.method}", {}
    for benchmark in context.benchmarks:
        columns |= rate_columns(benchmark, evaluations.runs(model, benchmark, "own"))
        row = judged[
            (judged.benchmark == benchmark)
            & (judged.a == context.labels[model])
            & (judged.b == context.labels[base])
            & (judged.metric == context.metric(benchmark))
        ]
        difference, verdict = (np.nan, "") if model == base else (row.difference.iloc[0], row.verdict.iloc[0])
        columns |= {f"{benchmark}_difference": difference, f"{benchmark}_verdict": verdict}
    return columns


def _varied(table: pd.DataFrame, context: ReportContext, ablation: Ablation) -> pages.Table:
    """The values of one setting."""
    label = context.labels[f"students/{ablation.method}"].removeprefix("+ ")
    rows = table[(table.method == ablation.method) & (table.setting == ablation.setting)]
    header, groups = ["value"], [("", 1)]
    for benchmark, name in context.benchmarks.items():
        header += [f"{context.metric(benchmark)}, %", "difference", "better?"]
        groups.append((html.escape(name), 3))
    cells = [[_value(row), *_cells(row, context.benchmarks)] for _, row in rows.iterrows()]
    rates = dict.fromkeys(range(1, 1 + 3 * len(context.benchmarks), 3), "higher")
    best = pages.Best(rates, range(len(cells)), "of this table's settings")
    return pages.Table(header, cells, groups, f"{label}: {ablation.setting}", best)


def _page(shown: list[pages.Table], ablations: list[Ablation], protocols: list[str]) -> str:
    parts = []
    for one, ablation in zip(shown, ablations):
        parts += [
            f"<h2>{html.escape(one.title)}</h2>",
            pages.paragraph(f"The method's own value is {ablation.own}."),
            pages.table(*one),
        ]
    remarks = [
        "Every variant differs from its method in this one setting.",
        "In gray, the 95% confidence interval. Differences are in percentage points; the verdict is on the claim that "
        "the variant beats its method, corrected over all variants, benchmarks and metrics (Holm).",
        *protocols,
    ]
    return pages.page("Ablations", *parts, pages.notes(remarks))


def _value(row: pd.Series) -> str:
    own = row.model == row.method
    return html.escape(row["value"]) + ' <span class="interval">the method\'s own</span>' * own


def _cells(row: pd.Series, benchmarks: dict[str, str]) -> list[str]:
    cells = []
    for benchmark in benchmarks:
        difference = row[f"{benchmark}_difference"]
        cells += [
            pages.rate(row[benchmark], row[f"{benchmark}_low"], row[f"{benchmark}_high"]),
            "–" if np.isnan(difference) else pages.signed(difference),
            " " + (html.escape(row[f"{benchmark}_verdict"]) or "–"),
        ]
    return cells
