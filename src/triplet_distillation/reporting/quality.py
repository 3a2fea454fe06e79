"""The page of data quality: what became of the photographs, and what may be wrong with them."""

import base64
import html

import cv2
import numpy as np
import pandas as pd

from triplet_distillation.faces import quality
from triplet_distillation.faces.store import FLAGS, FaceStore
from triplet_distillation.files import read_json, read_table, write_table, write_text
from triplet_distillation.logs import summary
from triplet_distillation.reporting import pages

OUTCOMES = (*FLAGS.values(), "unreadable")
COUNTED = ("photographs", "identities", *OUTCOMES, "same bytes", "with one image")
ABOUT = ("origin", "licence", "citation", "files", "checksum", "detector")
SHOWN = 12
"""How many of the worst faces, and how many pairs, are shown as pictures."""


def write_quality(
    datasets: dict[str, dict[str, str]],
    training: dict[str, str],
    benchmarks: dict[str, dict[str, str]],
    csv: str,
    html_page: str,
) -> None:
    """What became of every data set's photographs, and what training set and benchmarks share.

    Args:
        datasets: name to its paths: ``store, outcomes, origin``.
        training: ``store`` and ``set`` (table ``row, label``).
        benchmarks: name for readers to its paths: ``store, pairs``.
        csv, html_page: outputs.
    """
    rows = [_count(name, **paths) for name, paths in datasets.items()]
    write_table(csv, pd.DataFrame(rows))
    cells = [[html.escape(row["dataset"]), *(f"{row[column]:,}" for column in COUNTED)] for row in rows]
    parts = [
        pages.table(["data set", *COUNTED], cells),
        pages.notes(
            [
                "Several faces: the large and central one is taken. No face: a central crop, never trained on, kept "
                "where a benchmark's pair needs it. Same bytes: faces that stand in the store more than once.",
            ]
        ),
    ]
    trained = quality.side(FaceStore(training["store"]), read_table(training["set"]).row.to_numpy())
    for label, paths in benchmarks.items():
        test_rows = np.unique(read_table(paths["pairs"])[["a", "b"]])
        parts += _across_split(label, trained, quality.side(FaceStore(paths["store"]), test_rows))
    for row in rows:
        about = [[key, f" {html.escape(str(row[key]))}"] for key in ABOUT]
        parts += [f"<h2>{html.escape(row['dataset'])}</h2>", pages.table(["", ""], about)]
        parts += _worst(datasets[row["dataset"]]["store"]) + _unreadable(datasets[row["dataset"]]["outcomes"])
    write_text(html_page, pages.page("Photographs and faces", *parts))
    summary("; ".join(f"{row['dataset']}: {row['photographs']} photographs" for row in rows))


def _count(name: str, store: str, outcomes: str, origin: str) -> dict:
    opened, table, about = FaceStore(store), read_table(outcomes), read_json(origin)
    counts = table.outcome.value_counts()
    return {
        "dataset": name,
        "photographs": len(table),
        "identities": table.identity.nunique(),
        **{outcome: int(counts.get(outcome, 0)) for outcome in OUTCOMES},
        "same bytes": sum(len(group) for group in quality.same_bytes(opened)),
        "with one image": quality.identities_with_one_image(opened),
        **{key: about[key] for key in ("origin", "licence", "citation", "checksum")},
        "files": "; ".join(f"{file}: SHA-256 {digest}" for file, digest in about["files"].items()) or "none",
        "detector": opened.metadata["detector"],
    }


def _across_split(label: str, training: quality.Side, test: quality.Side) -> list[str]:
    found = quality.across_split(training, test)
    names = f": {', '.join(found.people_in_both[:SHOWN])}" if found.people_in_both else ""
    lines = [
        f"People in both by name: {len(found.people_in_both)}{names}.",
        f"Faces that look alike in both (perceptual hash): {len(found.near_duplicates)}.",
    ]
    pictures = [
        _picture(training.store, a, "trained on") + _picture(test.store, b, "tested")
        for a, b in found.near_duplicates[:SHOWN]
    ]
    return [f"<h2>Training set and {html.escape(label)}</h2>", pages.notes(lines), *pictures]


def _worst(store_path: str) -> list[str]:
    store = FaceStore(store_path)
    rows = quality.worst(store, SHOWN)
    if not len(rows):
        return []
    scores = [store.value("score", row) for row in rows]
    captions = ["no face" if np.isnan(score) else f"{score:.3f}" for score in scores]
    pictures = "".join(_picture(store, row, caption) for row, caption in zip(rows, captions))
    return [pages.paragraph("The faces that the detector is least sure of, with its confidence:"), pictures]


def _picture(store: FaceStore, row: int, caption: str) -> str:
    """A face as a small figure that needs no file beside the page."""
    encoded = cv2.imencode(".jpg", cv2.cvtColor(store.image(row), cv2.COLOR_RGB2BGR))[1].tobytes()
    name = html.escape(store.value("source", row))
    data = base64.b64encode(encoded).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{name}" title="{name}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _unreadable(outcomes: str) -> list[str]:
    table = read_table(outcomes)
    table = table[table.outcome == "unreadable"]
    if table.empty:
        return []
    cells = [[f" {html.escape(str(row.path))}", f" {html.escape(str(row.reason))}"] for row in table.itertuples()]
    return [pages.paragraph(f"{len(table)} files were not read:"), pages.table(["file", "why"], cells)]
