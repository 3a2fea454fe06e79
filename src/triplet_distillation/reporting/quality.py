"""The data quality page: the outcome of the alignment, and possible problems with the data."""

import base64
import html
from collections import Counter
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from triplet_distillation.faces import quality
from triplet_distillation.faces.align import read_outcomes
from triplet_distillation.faces.store import DETECTION_STATUS, FaceStore
from triplet_distillation.files import read_json, write_text
from triplet_distillation.logs import summary
from triplet_distillation.reporting import pages
from triplet_distillation.reporting.tables import TableFiles
from triplet_distillation.tabular import read_table, write_table

OUTCOMES = (*DETECTION_STATUS.values(), "unreadable")
COUNTED = ("images", "identities", *OUTCOMES, "same bytes", "with one image")
ABOUT = ("origin", "license", "citation", "files", "checksum", "detector")
SHOWN = 12
"""Number of low-confidence faces, and of pairs, that are shown as pictures."""


class Training(NamedTuple):
    """Paths of the face ``store`` that is trained on and of the training ``sets`` (``row, label``), one per round."""

    store: str
    sets: list[str]


class BenchmarkFaces(NamedTuple):
    """A benchmark's display name (``label``), ``round``, whether its identities can be compared with those that are
    trained on (``names_are_comparable``), and paths of its face ``store`` and of the ``faces`` in its pairs."""

    label: str
    round: int
    names_are_comparable: bool
    store: str
    faces: str


def write_quality(
    datasets: dict[str, dict[str, str]],
    training: Training,
    benchmarks: list[BenchmarkFaces],
    outputs: TableFiles,
) -> None:
    """Write the outcome of every data set's alignment, and what training set and benchmarks have in common.

    Args:
        datasets: name to its paths: ``store, outcomes, origin``.
        training: what is trained on.
        benchmarks: what is tested, one entry per benchmark and round.
        outputs: paths.
    """
    rows = [_count(name, **paths) for name, paths in datasets.items()]
    write_table(outputs.csv, pd.DataFrame(rows))
    cells = [[html.escape(row["dataset"]), *(f"{row[column]:,}" for column in COUNTED)] for row in rows]
    counts = pages.Table(["data set", *COUNTED], cells, None, "Images and faces")
    write_text(outputs.tex, pages.latex(counts))
    parts = [
        pages.table(*counts),
        pages.notes(
            [
                "Several faces: the largest, most central one is used. No face: replaced by a central crop, which is "
                "never trained on but stays in the benchmarks' pairs. Same bytes: faces that occur more than once.",
            ]
        ),
    ]
    trained = [quality.split_side(FaceStore(training.store), read_table(path).row.to_numpy()) for path in training.sets]
    for benchmark in benchmarks:
        test_rows = np.unique(read_table(benchmark.faces).row)
        tested = quality.split_side(FaceStore(benchmark.store), test_rows)
        turn = f", round {benchmark.round}" if len(training.sets) > 1 else ""
        parts += _compare_with_benchmark(
            f"{benchmark.label}{turn}", trained[benchmark.round], tested, benchmark.names_are_comparable
        )
    for row in rows:
        about = [[key, f" {html.escape(str(row[key]))}"] for key in ABOUT]
        parts += [
            f"<h2>{html.escape(row['dataset'])}</h2>",
            pages.table(["", ""], about, title=f"About {row['dataset']}"),
        ]
        parts += _passed_over(datasets[row["dataset"]]["origin"])
        parts += _lowest_confidence(datasets[row["dataset"]]["store"]) + _unreadable(
            datasets[row["dataset"]]["outcomes"]
        )
    write_text(outputs.html, pages.page(counts.title, *parts))
    summary("; ".join(f"{row['dataset']}: {row['images']} images" for row in rows))


def _count(name: str, store: str, outcomes: str, origin: str) -> dict:
    opened, about = FaceStore(store), read_json(origin)
    counts, identities = Counter[str](), set[str]()
    for lines in read_outcomes(outcomes):
        counts.update(lines.outcome.value_counts().to_dict())
        identities.update(lines.identity.unique())
    return {
        "dataset": name,
        "images": counts.total(),
        "identities": len(identities),
        **{outcome: counts[outcome] for outcome in OUTCOMES},
        "same bytes": sum(len(group) for group in quality.same_bytes(opened)),
        "with one image": quality.identities_with_one_image(opened),
        **{key: about[key] for key in ("origin", "license", "citation", "checksum")},
        "files": "; ".join(f"{file}: SHA-256 {digest}" for file, digest in about["files"].items()) or "none",
        "detector": opened.metadata["detector"],
    }


def _compare_with_benchmark(
    label: str, training: quality.SplitSide, test: quality.SplitSide, names_are_comparable: bool
) -> list[str]:
    found = quality.compare_sides(training, test)
    names = f": {', '.join(found.identities_in_both[:SHOWN])}" if found.identities_in_both else ""
    both = (
        f"Identities with the same name in both: {len(found.identities_in_both)}{names}."
        if names_are_comparable
        else "Whether somebody is in both cannot be known: the data sets do not both name people."
    )
    lines = [
        both,
        f"Near-duplicate faces (perceptual hash): {len(found.near_duplicates)}.",
    ]
    pictures = [
        _picture(training.store, a, "training") + _picture(test.store, b, "test")
        for a, b in found.near_duplicates[:SHOWN]
    ]
    return [f"<h2>Training set and {html.escape(label)}</h2>", pages.notes(lines), *pictures]


def _lowest_confidence(store_path: str) -> list[str]:
    store = FaceStore(store_path)
    rows = quality.lowest_confidence(store, SHOWN)
    if not len(rows):
        return []
    scores = [store.value("score", row) for row in rows]
    captions = ["no face" if np.isnan(score) else f"{score:.3f}" for score in scores]
    pictures = "".join(_picture(store, row, caption) for row, caption in zip(rows, captions))
    return [pages.paragraph("The faces with the lowest confidence of the detector:"), pictures]


def _picture(store: FaceStore, row: int, caption: str) -> str:
    """A face as a small HTML figure with the picture embedded."""
    encoded = cv2.imencode(".jpg", cv2.cvtColor(store.image(row), cv2.COLOR_RGB2BGR))[1].tobytes()
    name = html.escape(store.value("source", row))
    data = base64.b64encode(encoded).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{name}" title="{name}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _passed_over(origin: str) -> list[str]:
    """The files that the source found but did not take."""
    found = read_json(origin).get("passed_over", {})
    if not found:
        return []
    cells = [
        [f" {html.escape(reason)}", f"{each['count']:,}", f" {html.escape(each['first'])}"]
        for reason, each in found.items()
    ]
    number = sum(each["count"] for each in found.values())
    return [
        pages.paragraph(f"Files that were passed over: {number}"),
        pages.table(["reason", "files", "the first"], cells),
    ]


def _unreadable(outcomes: str) -> list[str]:
    cells = [
        [f" {html.escape(row.path)}", f" {html.escape(row.reason)}"]
        for lines in read_outcomes(outcomes)
        for row in lines[lines.outcome == "unreadable"].itertuples()
    ]
    if not cells:
        return []
    return [pages.paragraph(f"Files that could not be read: {len(cells)}"), pages.table(["file", "reason"], cells)]
