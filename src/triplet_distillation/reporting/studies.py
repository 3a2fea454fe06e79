"""Several finished studies beside each other: their Table 2, and what became of their claims."""

import html
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from triplet_distillation.files import read_json, write_text
from triplet_distillation.logs import as_duration
from triplet_distillation.reporting import pages
from triplet_distillation.reporting.findings import read_comparisons
from triplet_distillation.tabular import read_table

NOT_FINISHED = "is not a finished study: run snakemake --cores all with its configuration first"


class StudyError(ValueError):
    """A folder does not have the results of a study."""


class Study(NamedTuple):
    """What is read of a study: its ``config``, ``table2`` (index: models), ``comparisons``, ``timings`` and
    ``environment``; and the ``digests`` of face stores, training sets and pairs, by their path in the study."""

    config: dict[str, Any]
    table2: pd.DataFrame
    comparisons: pd.DataFrame
    timings: dict[str, Any]
    environment: dict[str, Any]
    digests: dict[str, str]

    @property
    def name(self) -> str:
        return self.config["study"]

    @property
    def benchmarks(self) -> dict[str, str]:
        """Benchmark to display name, with its metric where that is not the accuracy."""
        found = {}
        for name, entry in self.config["benchmarks"].items():
            if entry:
                metric = f", TAR at FAR {entry['far']:g}" if entry.get("metric") == "tar_at_far" else ""
                found[name] = f"{entry.get('label', name)}{metric}"
        return found


def read_study(folder: str | Path) -> Study:
    """Read ``results/<study>``, or an unpacked crate.

    Raises:
        StudyError: something is missing; the message names it.
    """
    folder = Path(folder)
    try:
        stages = read_json(folder / "hashes.json")["stages"]
        return Study(
            yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")),
            read_table(folder / "tables/table2.csv", text=("model", "label")).set_index("label"),
            read_comparisons(folder / "tables/comparisons.csv"),
            read_json(folder / "tables/timings.json"),
            read_json(folder / "tables/environment.json"),
            {path: found["content"] for stage in ("align", "split") for path, found in stages[stage].items()},
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StudyError(f"{folder} {NOT_FINISHED} ({error.filename} is missing)") from error


def write_studies(folders: list[Path], output: str | Path) -> None:
    """Write the page that has the studies of ``folders`` side by side.

    Raises:
        StudyError: a folder has no finished study, or two studies have the same name.
    """
    studies = [read_study(folder) for folder in folders]
    names = [study.name for study in studies]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise StudyError(
            f"two studies are called {', '.join(sorted(repeated))}: give one of them another name (study:)"
        )
    write_text(
        output,
        pages.page(
            "Studies side by side",
            pages.table(*_overview(studies)),
            "<h2>Table 2 of every study, percent</h2>",
            pages.table(*_accuracies(studies)),
            pages.paragraph("In gray, the 95% confidence interval; its units are people and training runs."),
            "<h2>Are these numbers comparable?</h2>",
            pages.notes(_comparable(studies)),
            "<h2>What became of the claims</h2>",
            pages.table(*_claims(studies)),
            pages.notes(
                [
                    "The difference is A's metric minus B's, in percentage points, with its 95% interval; by the "
                    "benchmark's own metric.",
                    "Every study corrects its verdicts for its own claims (Holm), not for those of the others: the "
                    "more studies, the likelier a false verdict in one of them.",
                ]
            ),
        ),
    )


def _overview(studies: list[Study]) -> pages.Table:
    rows = []
    for study in studies:
        basis = "; ".join(dict.fromkeys(study.comparisons.basis)) or "–"
        machine = study.environment["gpu"] or f"{study.environment['cpu']}, {study.environment['cores']} cores"
        cells = [
            study.config["title"],
            study.config["training_data"]["dataset"],
            study.config["teacher"]["network"],
            study.config["student"]["network"],
            basis,
            as_duration(study.timings["seconds_at_work"]),
            machine,
        ]
        rows.append([html.escape(study.name), *(html.escape(str(cell)) for cell in cells)])
    header = ["study", "title", "trained on", "teacher", "student", "tested", "time", "machine"]
    return pages.Table(header, rows, title="Studies")


def _columns(studies: list[Study]) -> tuple[list[tuple[Study, str]], list[tuple[str, int]]]:
    """The benchmarks of all studies, and the headings over them."""
    columns = [(study, benchmark) for study in studies for benchmark in study.benchmarks]
    groups = [("", 1), *((html.escape(study.name), len(study.benchmarks)) for study in studies)]
    return columns, groups


def _accuracies(studies: list[Study]) -> pages.Table:
    columns, groups = _columns(studies)
    models = dict.fromkeys(label for study in studies for label in study.table2.index)
    rows = []
    for label in models:
        cells = [html.escape(label)]
        for study, benchmark in columns:
            if label in study.table2.index:
                numbers = (study.table2[f"{benchmark}{end}"][label] for end in ("", "_low", "_high"))
                cells.append(pages.rate(*numbers))
            else:
                cells.append(pages.DASH)
        rows.append(cells)
    header = ["model", *(html.escape(study.benchmarks[benchmark]) for study, benchmark in columns)]
    return pages.Table(header, rows, groups, "Table 2 of every study")


def _claims(studies: list[Study]) -> pages.Table:
    columns, groups = _columns(studies)
    claims = dict.fromkeys(pair for study in studies for pair in zip(study.comparisons.a, study.comparisons.b))
    rows = [
        [html.escape(f"{a} against {b}"), *(_claim(study, benchmark, a, b) for study, benchmark in columns)]
        for a, b in claims
    ]
    header = ["A against B", *(html.escape(study.benchmarks[benchmark]) for study, benchmark in columns)]
    return pages.Table(header, rows, groups, "Claims of every study")


def _claim(study: Study, benchmark: str, a: str, b: str) -> str:
    """Difference, interval and verdict (HTML) by the benchmark's own metric, which is the one that is not the AUC."""
    found = study.comparisons
    for row in found[(found.benchmark == benchmark) & (found.a == a) & (found.b == b)].to_dict("records"):
        if row["metric"] != "AUC":
            interval = pages.interval_of_difference(row["low"], row["high"])
            return f" {pages.signed(row['difference'])}{interval}<br>{html.escape(row['verdict'])}"
    return f" {pages.DASH}"


def _comparable(studies: list[Study]) -> list[str]:
    """Which studies tested the same pairs, and which trained on the same faces."""
    sentences = _shared("were tested on the same pairs", "test pairs", {each.name: _tested(each) for each in studies})
    sentences += _shared(
        "were trained on the same faces", "training faces", {each.name: _trained(each) for each in studies}
    )
    native = [study.name for study in studies if not study.config["execution"]["portable"]]
    if native:
        sentences.append(f"Results can differ between CPUs (execution.portable is off): {', '.join(native)}.")
    return sentences


def _shared(say: str, what: str, digests: dict[str, tuple[str, ...]]) -> list[str]:
    """Which of the studies with these ``digests`` have the same ones."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, found in digests.items():
        groups.setdefault(found, []).append(name)
    same = [f"{', '.join(names)} {say}." for names in groups.values() if len(names) > 1]
    alone = [f"{names[0]} shares its {what} with no other study here." for names in groups.values() if len(names) == 1]
    return same + alone


def _tested(study: Study) -> tuple[str, ...]:
    """Digests of all pairs, and of the faces that they are pairs of."""
    datasets = {entry["dataset"] for entry in study.config["benchmarks"].values() if entry}
    return _digests(study, "/pairs/", datasets)


def _trained(study: Study) -> tuple[str, ...]:
    return _digests(study, "/training_set.", {study.config["training_data"]["dataset"]})


def _digests(study: Study, part: str, datasets: set[str]) -> tuple[str, ...]:
    """Of the files with ``part`` in their path, whose rows are those of the data sets' face stores, and of these."""
    stores = {f"faces/{dataset}/store.arrow" for dataset in datasets}
    return tuple(sorted(digest for path, digest in study.digests.items() if part in path or path in stores))
