"""The front page of the report: what was run, on what data, what came out, and whether it can be believed."""

import html
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from triplet_distillation.files import read_json, write_text
from triplet_distillation.logs import as_duration
from triplet_distillation.reporting import pages
from triplet_distillation.reporting.context import METHOD_PREFIX, ReportContext
from triplet_distillation.reporting.findings import MAX_LOSS, WARNING, read_comparisons
from triplet_distillation.reporting.tables import headings, is_student
from triplet_distillation.tabular import read_table

REVERSED = {"supported": "contradicted", "contradicted": "supported"}
"""The verdict on "B beats A", from that on "A beats B"; others are the same."""
ANSWERS = {"supported": "Yes", "contradicted": "No: the opposite", "undecided": "No: undecided"}
NO_WARNING = (
    f"No warning: the teacher is at least as good as the student, and no method that starts from it lost more than "
    f"{MAX_LOSS} points."
)
SHOWN_WARNINGS = 4
PAPER_SIZE = "3.8 million images of 85 thousand people"


@dataclass(frozen=True)
class StudyFacts:
    """What the configuration says about a study.

    Attributes:
        title: of the study.
        teacher, student: how they were made, in words: ``iresnet18_quarter, 100 steps of ArcFace``.
        dataset: name of the training data.
        second_stage: in words: ``8 steps unless a method says otherwise``.
        portable: whether results have the same bits on every CPU.
    """

    title: str
    teacher: str
    student: str
    dataset: str
    second_stage: str
    portable: bool


class ResultFiles(NamedTuple):
    """Paths of the results that the front page is made of; ``training_sets``: one per round."""

    table2: str
    comparisons: str
    findings: str
    verification: str
    quality: str
    timings: str
    environment: str
    training_sets: list[str]


class Results(NamedTuple):
    """The same, read. ``table2`` has the models as its index."""

    table2: pd.DataFrame
    comparisons: pd.DataFrame
    findings: dict[str, list[str]]
    verification: pd.DataFrame
    quality: pd.DataFrame
    timings: dict
    environment: dict
    training_sets: list[pd.DataFrame]


def write_front_page(
    facts: StudyFacts, context: ReportContext, files: ResultFiles, links: dict[str, str], output: str
) -> None:
    """Write the front page as a part of an HTML document.

    Args:
        facts: from the configuration.
        context: names and runs.
        files: results of the study.
        links: what a reader may want to see next, to its place in the report.
        output: path.
    """
    found = _read(files, context)
    cards = [
        _card("Which method is best?", _best(found, context)),
        _card("Is it sure?", _certainty(found, context)),
        _card("On how many people was it tested?", _tested(found, context)),
        _card("How long did it take?", _duration(found)),
    ]
    parts = [
        f"<h1>{html.escape(facts.title)}</h1>",
        f"<p>{html.escape(_what_was_run(facts, found, context))}</p>",
        f'<div class="cards">{"".join(cards)}</div>',
        '<div class="columns">',
        f"<section><h2>Table 2 of this study</h2>{_table2(found, context)}</section>",
        f"<section><h2>Can it be believed?</h2>{_reasons(facts, found)}</section>",
        "</div>",
        f"<nav><h2>Look at</h2><ul>{_links(links)}</ul></nav>",
    ]
    write_text(output, f'<div class="front-page" onclick="{html.escape(OPEN_ITEM)}">' + "\n".join(parts) + "</div>\n")


OPEN_ITEM = (
    "const link = event.target.closest('[data-item]');"
    " if (link) { event.preventDefault(); const path = link.dataset.item, item = results[path];"
    " const category = Object.keys(categories).find(name => categories[name].Other.includes(path));"
    " app.setView({content: item.mime_type === 'text/html' ? 'html' : 'img', contentPath: item.data_uri,"
    " resultPath: path, navbarMode: 'subcategory', category: category, subcategory: 'Other'}); }"
)
"""Opens an item of Snakemake's report: a script element in the description would not be executed."""


def _read(files: ResultFiles, context: ReportContext) -> Results:
    table2 = read_table(files.table2, text=("model", "label"))
    table2.index = pd.Index(context.runs)
    return Results(
        table2,
        read_comparisons(files.comparisons),
        read_json(files.findings),
        read_table(files.verification, text=("model", "benchmark", "label")),
        read_table(files.quality, text=("dataset",)),
        read_json(files.timings),
        read_json(files.environment),
        [read_table(path) for path in files.training_sets],
    )


def _card(question: str, answer: str) -> str:
    """A question (text) with its answer (HTML)."""
    return f"<section><h2>{html.escape(question)}</h2>{answer}</section>"


def _what_was_run(facts: StudyFacts, found: Results, context: ReportContext) -> str:
    methods = sum(model.startswith(METHOD_PREFIX) for model in context.runs)
    runs, rounds = len(context.seeds), len(found.training_sets)
    in_rounds = f" in {rounds} rounds" if rounds > 1 else ""
    return (
        f"A large network, the teacher ({facts.teacher}), and a small one, the student ({facts.student}), which then "
        f"learns by {methods} method{'s' * (methods != 1)} ({facts.second_stage}). Trained on {_training_size(found)} "
        f"of the data set {facts.dataset}, in {runs} run{'s' * (runs > 1)}{in_rounds}."
    )


def _training_size(found: Results) -> str:
    images = round(sum(len(each) for each in found.training_sets) / len(found.training_sets))
    identities = round(sum(each.label.nunique() for each in found.training_sets) / len(found.training_sets))
    return f"{images:,} faces of {identities:,} people"


def _ranked(found: Results, context: ReportContext, benchmark: str) -> list[str]:
    """The student and all methods, the best first."""
    return sorted(filter(is_student, context.runs), key=lambda model: -found.table2[benchmark][model])


def _name(context: ReportContext, model: str) -> str:
    return html.escape(context.labels[model].removeprefix("+ "))


def _best(found: Results, context: ReportContext) -> str:
    lines = []
    for benchmark, label in context.benchmarks.items():
        best = _ranked(found, context, benchmark)[0]
        low, high = (found.table2[f"{benchmark}_{end}"][best] for end in ("low", "high"))
        lines.append(
            f"<strong>{_name(context, best)}</strong><p>{context.metric(benchmark)} "
            f"{found.table2[benchmark][best]:.2f}% ({low:.2f} – {high:.2f}), {html.escape(label)}</p>"
        )
    return "".join(lines)


def _certainty(found: Results, context: ReportContext) -> str:
    lines = []
    for benchmark, label in context.benchmarks.items():
        best, *others = _ranked(found, context, benchmark)
        verdict = _verdict_between(found, context, benchmark, best, others[0])
        lines.append(
            f"<strong>{html.escape(ANSWERS.get(verdict, verdict.capitalize()))}</strong>"
            f"<p>{_name(context, best)} against {_name(context, others[0])}, the next best"
            f"{f' on {html.escape(label)}' if len(context.benchmarks) > 1 else ''}.</p>"
        )
    judged = found.comparisons[~found.comparisons.verdict.str.startswith("no verdict")]
    counts = ", ".join(f"{(judged.verdict == verdict).sum()} {verdict}" for verdict in ANSWERS)
    summary = f"<p>Of {len(judged)} comparisons: {counts}.</p>" if len(judged) else ""
    return "".join(lines) + summary


def _verdict_between(found: Results, context: ReportContext, benchmark: str, a: str, b: str) -> str:
    """The verdict on "A beats B" by the benchmark's own metric, also where the study's claim is the reverse."""
    claims = found.comparisons
    own = claims[(claims.benchmark == benchmark) & (claims.metric == context.metric(benchmark))]
    a, b = context.labels[a], context.labels[b]
    for verdict in own.verdict[(own.a == a) & (own.b == b)]:
        return verdict
    for verdict in own.verdict[(own.a == b) & (own.b == a)]:
        return REVERSED.get(verdict, verdict)
    return "not judged"


def _tested(found: Results, context: ReportContext) -> str:
    lines = []
    for benchmark, label in context.benchmarks.items():
        basis = found.comparisons.basis[found.comparisons.benchmark == benchmark].iloc[0]
        pairs = found.verification.pairs[found.verification.benchmark == benchmark].iloc[0]
        lines.append(f"<strong>{html.escape(basis)}</strong><p>{pairs:,} pairs per run, {html.escape(label)}</p>")
    return "".join(lines)


def _duration(found: Results) -> str:
    machine, timings = found.environment, found.timings
    peak = f", {timings['peak_mib'] / 1024:.1f} GiB at most per job" if timings["peak_mib"] else ""
    device = machine["gpu"] or f"{machine['cores']} cores of {machine['cpu']}"
    return (
        f"<strong>{as_duration(timings['seconds_at_work'])}</strong>"
        f"<p>{timings['jobs']:,} jobs{peak}; {html.escape(device)}</p>"
    )


def _table2(found: Results, context: ReportContext) -> str:
    """Models with accuracy and interval, and the first claim about each, with its verdict."""
    best = {  # as printed
        benchmark: round(found.table2[benchmark][_ranked(found, context, benchmark)[0]], 2)
        for benchmark in context.benchmarks
    }
    rows = []
    for model in context.runs:
        cells = [f"<th scope=row>{html.escape(context.labels[model])}</th>"]
        for benchmark in context.benchmarks:
            columns = (benchmark, f"{benchmark}_low", f"{benchmark}_high")
            is_best = is_student(model) and round(found.table2[benchmark][model], 2) == best[benchmark]
            marked = ' class="best"' if is_best else ""
            cells.append(f"<td{marked}>{pages.rate(*(found.table2[column][model] for column in columns))}</td>")
        rows.append("<tr>" + "".join(cells) + f"<td>{_claims_about(found, context, model)}</td></tr>")
    header = "".join(f'<th scope="col">{head}</th>' for head in ["model", *headings(context), "what it gains, verdict"])
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table 2"><table><thead><tr>'
        f"{header}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        "<small>Percent; in gray, the 95% confidence interval. Bold: the best student. A verdict is corrected for all "
        "claims of the study, an interval is not.</small>"
    )


def _claims_about(found: Results, context: ReportContext, model: str) -> str:
    """The first claim "this model beats …" on every benchmark (HTML)."""
    lines = []
    for benchmark, label in context.benchmarks.items():
        where = f"{html.escape(label)}: " if len(context.benchmarks) > 1 else ""
        claims = found.comparisons
        own = claims[(claims.benchmark == benchmark) & (claims.metric == context.metric(benchmark))]
        for row in own[own.a == context.labels[model]].head(1).itertuples():
            verdict = "no verdict" if row.verdict.startswith("no verdict") else row.verdict
            beaten = html.escape(str(row.b).removeprefix("+ "))
            lines.append(
                f"{where}{pages.signed(row.difference)} over {beaten}: "
                f'<span class="verdict {verdict.replace(" ", "-")}">{verdict}</span>'
            )
    return "<br>".join(lines) or "–"


def _reasons(facts: StudyFacts, found: Results) -> str:
    """What speaks for and against the numbers, warnings first (HTML)."""
    sentences = found.findings["sentences"]
    warnings = [each for each in sentences if each.startswith(WARNING)]
    shown = warnings[:SHOWN_WARNINGS]
    if len(warnings) > SHOWN_WARNINGS:
        shown.append(f"{len(warnings) - SHOWN_WARNINGS} more warnings: see Findings.")
    images = int(found.quality["images"].sum())
    faces = int(found.quality["one face"].sum() + found.quality["several faces"].sum())
    reasons = [
        "" if warnings else NO_WARNING,
        *found.findings["split"],
        f"{faces:,} of {images:,} images have a usable face.",
        "People and training runs are the units of intervals and verdicts, not pairs.",
        f"Not comparable with the paper's numbers: it trained on {PAPER_SIZE}, this study on {_training_size(found)}.",
        "The same configuration gives the same bits on "
        + ("every x86-64 CPU with AVX2." if facts.portable else "the same machine; on another, numbers may differ."),
    ]
    items = [f'<li class="warning">{html.escape(each)}</li>' for each in shown]
    return "<ul>" + "".join([*items, *(f"<li>{html.escape(each)}</li>" for each in reasons if each)]) + "</ul>"


def _links(links: dict[str, str]) -> str:
    return "".join(
        f'<li><a href="#" data-item="{html.escape(path)}">{html.escape(name)}</a></li>' for name, path in links.items()
    )
