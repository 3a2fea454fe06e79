"""The methods of a study side by side: accuracy, cost, verdicts, and what was tuned (an extended Table 2)."""

import html
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_json, write_text
from triplet_distillation.reporting import pages, style
from triplet_distillation.reporting.context import short_name
from triplet_distillation.reporting.runs import Evaluations
from triplet_distillation.reporting.tables import rate_columns
from triplet_distillation.tabular import read_table, write_table


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
    """Paths of the table's outputs."""

    csv: str
    html: str
    figure: str


def write_methods(evaluations: Evaluations, facts: MethodFacts, outputs: MethodsTableFiles) -> None:
    """Write the table of methods and the figure of accuracy against training cost.

    Args:
        evaluations: of every model.
        facts: what methods are and cost.
        outputs: paths.
    """
    table = methods_table(evaluations, facts)
    write_table(outputs.csv, table)
    write_text(outputs.html, _page(table, evaluations, facts))
    _plot_cost(table, evaluations, outputs.figure)


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


def _page(table: pd.DataFrame, evaluations: Evaluations, facts: MethodFacts) -> str:
    context = evaluations.context
    comparisons = read_table(facts.comparisons, text=("benchmark", "a", "b", "metric", "verdict", "basis"))
    reference = context.labels[facts.reference]
    header, groups = ["method"], [("", 1)]
    for benchmark, name in context.benchmarks.items():
        header += [f"{context.metric(benchmark)}, %", "change", "beats the student?", "does the reference beat it?"]
        groups.append((html.escape(name), 4))
    header += ["images through the student", "training, s", "images through teachers"]
    groups.append(("cost", 3))
    parts = []
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
        parts += [f"<h2>{html.escape(str(family)).capitalize()}</h2>", pages.table(header, cells, groups)]
    return pages.page(
        "Methods compared",
        *parts,
        pages.notes(_remarks(reference)),
        "<h2>What each method was trained with</h2>",
        pages.table(
            ["method", "loss", "not as by default", "tuned", "trials", "on whom"],
            [_settings_row(context.labels[model], entry) for model, entry in facts.entries.items()],
        ),
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
    cells = [html.escape(label), html.escape(entry.loss), " " + (html.escape(changed) or "–")]
    if entry.tuned is None:
        return [*cells, "nothing", "0", "–"]
    tuned = entry.tuned
    return [
        *cells,
        " " + html.escape(", ".join(tuned["settings"])),
        str(tuned["trials"]),
        " " + html.escape(tuned["chosen_on"]),
    ]


def _plot_cost(table: pd.DataFrame, evaluations: Evaluations, output: str) -> None:
    """Accuracy with its interval against the seconds of training, one panel per benchmark; a color per family."""
    context = evaluations.context
    families = list(dict.fromkeys(table.family))
    height = max(4.5, 0.2 * len(table))
    figure, axes = style.plt.subplots(
        len(context.benchmarks), 1, figsize=(11, height * len(context.benchmarks)), squeeze=False
    )
    for axis, (benchmark, title) in zip(axes[:, 0], context.benchmarks.items()):
        for index, (_, row) in enumerate(table.iterrows()):
            low, high = row[benchmark] - row[f"{benchmark}_low"], row[f"{benchmark}_high"] - row[benchmark]
            axis.errorbar(
                row.seconds,
                row[benchmark],
                yerr=[[max(0, low)], [max(0, high)]],
                marker=f"${index}$",
                markersize=6 if index < 10 else 9,  # two digits are wider
                color=style.COLORS[1 + families.index(row.family)],
                elinewidth=0.4,
                linestyle="none",
                label=f"{row.label.removeprefix('+ ')} ({row.images:,} images)",
            )
        axis.set(title=title, xlabel="seconds of training, first stage included")
        axis.margins(x=0.1)
        axis.set_ylabel(f"{context.metric(benchmark)}, % (95% interval)")
        axis.legend(title="\n".join(_family_colors(families)), loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    style.save(figure, output)


def _family_colors(families: list[str]) -> list[str]:
    names = ("blue", "orange", "green", "pink")
    return [f"{name}: {family}" for name, family in zip(names, families)]
