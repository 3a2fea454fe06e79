"""The methods of a study side by side: accuracy, cost, verdicts, and what was tuned (an extended Table 2)."""

import html
import math
import textwrap
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_json, write_text
from triplet_distillation.reporting import pages, style
from triplet_distillation.reporting.context import ReportContext, short_name
from triplet_distillation.reporting.findings import read_comparisons
from triplet_distillation.reporting.runs import Evaluations
from triplet_distillation.reporting.tables import rate_columns
from triplet_distillation.tabular import write_table

TITLE_LETTERS = 22
"""Of a line above one of four panels."""


@dataclass(frozen=True)
class MethodEntry:
    """What the configuration says about a method.

    Attributes:
        loss: name of its loss.
        family: where it starts, in words; methods of one family have the same start.
        images: passes of images through the student in its training.
        starts_from_student: whether the first stage of the student belongs to its cost.
        embeddings: how many caches of teacher embeddings it reads.
        settings: of its loss and training, where they are not the defaults.
        tuned: ``settings``, ``trials`` and ``chosen_on``, or None if nothing was.
    """

    loss: str
    family: str
    images: int
    starts_from_student: bool
    embeddings: int
    settings: dict[str, Any]
    tuned: dict[str, Any] | None


class MethodFacts(NamedTuple):
    """What is known of a study's methods.

    ``entries`` by model; ``student_images``: passes of images in the student's first stage; ``timings``: model to the
    paths of its timings, the student included; ``store``: path of the store that teachers embed; ``comparisons``: path
    of the verdicts; ``reference``: the model that others are compared with.
    """

    entries: dict[str, MethodEntry]
    student_images: int
    timings: dict[str, list[str]]
    store: str
    comparisons: str
    reference: str


class MethodsTableFiles(NamedTuple):
    """Paths of the table's outputs, and of the figure in every format."""

    csv: str
    html: str
    tex: str
    figures: list[str]


def write_methods(evaluations: Evaluations, facts: MethodFacts, outputs: MethodsTableFiles) -> None:
    """Write the table of methods and the figure of accuracy against training cost.

    Args:
        evaluations: of every model.
        facts: what methods are and cost.
        outputs: paths.
    """
    table = methods_table(evaluations, facts)
    write_table(outputs.csv, table)
    compared = _compared(table, evaluations, facts)
    settings = pages.Table(
        ["method", "loss", "not as by default", "tuned", "trials", "on whom"],
        [_settings_row(evaluations.context.labels[model], entry) for model, entry in facts.entries.items()],
        None,
        "What each method was trained with",
    )
    write_text(outputs.html, _page(compared, settings, evaluations.context.labels[facts.reference]))
    write_text(outputs.tex, pages.latex(*compared, settings))
    _plot_cost(table, evaluations.context, outputs.figures)


def methods_table(evaluations: Evaluations, facts: MethodFacts) -> pd.DataFrame:
    """The student of the first stage and every method, with accuracy, change and cost.

    Returns:
        One row per model: ``model, label, family``; per benchmark its metric in percent with ``_low`` and
        ``_high``, and ``<benchmark>_change`` from the student in points; ``images`` through the student, including
        its first stage; ``seconds`` of training, likewise; ``teacher_images`` embedded by teachers.
    """
    faces = len(FaceStore(facts.store))
    seconds = {
        model: float(np.mean([read_json(path)["seconds"] for path in paths])) for model, paths in facts.timings.items()
    }
    rows = [_row("student", "first stage", facts.student_images, seconds.get("student", 0.0), 0, evaluations)]
    for model, entry in facts.entries.items():
        before, passed = (seconds.get("student", 0.0), facts.student_images) if entry.starts_from_student else (0.0, 0)
        images, embedded = entry.images + passed, 2 * faces * entry.embeddings
        rows.append(_row(model, entry.family, images, seconds[model] + before, embedded, evaluations))
    table = pd.DataFrame(rows)
    for benchmark in evaluations.context.benchmarks:
        table[f"{benchmark}_change"] = table[benchmark] - table[benchmark].iloc[0]
    return table


def _row(model: str, family: str, images: int, seconds: float, embedded: int, evaluations: Evaluations) -> dict:
    context = evaluations.context
    row: dict[str, Any] = {"model": short_name(model), "label": context.labels[model], "family": family}
    for benchmark in context.benchmarks:
        row |= rate_columns(benchmark, evaluations.runs(model, benchmark, "own"))
    return row | {"images": images, "seconds": seconds, "teacher_images": embedded}


def _compared(table: pd.DataFrame, evaluations: Evaluations, facts: MethodFacts) -> list[pages.Table]:
    """A table per family."""
    context = evaluations.context
    comparisons = read_comparisons(facts.comparisons)
    reference = context.labels[facts.reference]
    header, groups = ["method"], [("", 1)]
    for benchmark, name in context.benchmarks.items():
        header += [f"{context.metric(benchmark)}, %", "change", "beats the student?", "does the reference beat it?"]
        groups.append((html.escape(name), 4))
    header += ["images through the student", "training, s", "images through teachers"]
    groups.append(("cost", 3))
    tables = []
    for family, rows in table.groupby("family", sort=False):
        cells = []
        for _, row in rows.iterrows():
            line = [html.escape(row.label)]
            for benchmark in context.benchmarks:
                verdicts = _verdicts(comparisons, benchmark, context.metric(benchmark))
                change = row[f"{benchmark}_change"]
                line += [
                    pages.rate(row[benchmark], row[f"{benchmark}_low"], row[f"{benchmark}_high"]),
                    "–" if row.model == "student" else pages.signed(change),
                    " " + html.escape(verdicts.get((row.label, context.labels["student"]), "–")),
                    " " + html.escape(verdicts.get((reference, row.label), "–")),
                ]
            cells.append([*line, f"{row.images:,}", f"{row.seconds:,.0f}", f"{row.teacher_images:,}"])
        rates = dict.fromkeys(range(1, 1 + 4 * len(context.benchmarks), 4), "higher")
        best = pages.Best(rates, range(len(cells)), "of this table's methods")
        tables.append(pages.Table(header, cells, groups, str(family).capitalize(), best))
    return tables


def _page(compared: list[pages.Table], settings: pages.Table, reference: str) -> str:
    parts = [part for each in compared for part in (f"<h2>{html.escape(each.title)}</h2>", pages.table(*each))]
    return pages.page(
        "Methods compared",
        *parts,
        pages.notes(_remarks(reference)),
        f"<h2>{html.escape(settings.title)}</h2>",
        pages.table(*settings),
    )


def _remarks(reference: str) -> list[str]:
    return [
        f"The reference is {reference.removeprefix('+ ')}. In gray, the 95% confidence interval; changes are from the "
        "student of the first stage, in percentage points. Verdicts are those of the findings.",
        "Images through the student and seconds include the first stage of the student that a method starts from. "
        "Seconds are the wall time of all steps on the machine that ran the study, on average over the runs; what else "
        "runs there at the same time lengthens them.",
        "Images through teachers are embedded once, for all methods and runs with the same teacher; training "
        "reads the embeddings. What the teachers' own training cost is not counted.",
    ]


def _verdicts(comparisons: pd.DataFrame, benchmark: str, metric: str) -> dict[tuple[str, str], str]:
    rows = comparisons[(comparisons.benchmark == benchmark) & (comparisons.metric == metric)]
    return {(row.a, row.b): row.verdict for _, row in rows.iterrows()}


def _settings_row(label: str, entry: MethodEntry) -> list[str]:
    changed = ", ".join(f"{name}: {value}" for name, value in entry.settings.items())
    cells = [html.escape(label), " " + html.escape(entry.loss), " " + (html.escape(changed) or "–")]
    if entry.tuned is None:
        return [*cells, " nothing", "0", " –"]
    tuned = entry.tuned
    return [
        *cells,
        " " + html.escape(", ".join(tuned["settings"])),
        str(tuned["trials"]),
        " " + html.escape(tuned["chosen_on"]),
    ]


def _plot_cost(table: pd.DataFrame, context: ReportContext, outputs: list[str]) -> None:
    """A line per method, the cheapest first: its metric on every benchmark with its interval, and its seconds."""
    shown = table.sort_values("seconds", ascending=False, kind="stable")
    families = {family: style.COLORS[1 + place] for place, family in enumerate(dict.fromkeys(table.family))}
    count = len(context.benchmarks) + 1
    columns = min(count, 4)
    lines = math.ceil(count / columns)
    figure, axes = style.plt.subplots(
        lines, columns, figsize=(style.WIDTH, (0.9 + 0.24 * len(shown)) * lines), squeeze=False, sharey=True
    )
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    places, colors = np.arange(len(shown)), [families[family] for family in shown.family]
    for axis, (benchmark, title) in zip(axes.flat, context.benchmarks.items()):
        axis.hlines(places, shown[f"{benchmark}_low"], shown[f"{benchmark}_high"], colors=colors)
        axis.scatter(shown[benchmark], places, c=colors, s=24)
        axis.set_title(f"{textwrap.fill(title, TITLE_LETTERS)}\n{context.metric(benchmark)}, %")
    cost = axes.flat[count - 1]
    cost.barh(places, shown.seconds, color=colors, height=0.6)
    cost.set_title("training, s\n(first stage included)")
    axes[0, 0].set_yticks(places, [label.removeprefix("+ ") for label in shown.label])
    style.legend_below(figure, [Patch(color=color) for color in families.values()], list(families))
    style.explain(figure, "Line: 95% confidence interval. Color: where the training starts.")
    style.save(figure, outputs)
