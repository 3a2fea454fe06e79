"""The pairs that models get most wrong, as photographs: a page for the report."""

import base64
import html
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from triplet_distillation.evaluation.verification import k_fold_accuracy, threshold_at_far
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import write_text
from triplet_distillation.logs import summary
from triplet_distillation.reporting import pages
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.tabular import read_table

SHOWN = 4
"""Genuine pairs, and impostor pairs, per model and benchmark."""
PIXELS, JPEG_QUALITY = 80, 75
"""Side and quality of a picture on the page."""
MAX_BYTES = 2_500_000
"""Of all pictures on the page: if they are more, fewer pairs are shown."""
STYLE = f"""<style>
.pairs {{ display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; }}
.pairs figure {{ width: {2 * PIXELS + 4}px; margin: 0; vertical-align: top; }}
.pairs figcaption {{ text-align: left; line-height: 1.3; }}
.face {{ display: inline-block; width: {PIXELS}px; height: {PIXELS}px; background-size: cover;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }} .face + .face {{ margin-left: 4px; }}
</style>"""


class BenchmarkFiles(NamedTuple):
    """Paths of a benchmark's face ``store`` and of the ``templates`` that the first run was tested on."""

    store: str
    templates: str


class Errors(NamedTuple):
    """Wrong decisions of one model on one benchmark, the most wrong one first: ``a, b`` (rows of the store),
    ``score, threshold``.

    ``false_rejects``: genuine pairs below their threshold; ``false_accepts``: impostor pairs that reach it;
    ``genuine``, ``impostor``: how many pairs there are.
    """

    false_rejects: pd.DataFrame
    false_accepts: pd.DataFrame
    genuine: int
    impostor: int


def write_failures(
    scores: dict[str, str], benchmarks: dict[str, BenchmarkFiles], context: ReportContext, output: str
) -> None:
    """Write the page of the most wrong pairs of every model in the first run.

    Args:
        scores: model to the path of its scores in the first run.
        benchmarks: in the order of the page.
        context: names and metrics.
        output: path of the page.
    """
    tables = {model: read_table(path) for model, path in scores.items()}
    sections = []
    for benchmark, files in benchmarks.items():
        store, first_faces = FaceStore(files.store), _first_faces(files.templates)
        for model, table in tables.items():
            chosen = table[table.benchmark == benchmark]
            sections.append((benchmark, model, store, find_errors(chosen, context.far[benchmark], first_faces)))
    pictures, shown = _embed([(store, errors) for _, _, store, errors in sections])
    parts, last = [], ""
    for benchmark, model, store, errors in sections:
        if benchmark != last:
            parts.append(f"<h2>{html.escape(context.benchmarks[benchmark])}</h2>")
            last = benchmark
        parts.append(f"<h3>{html.escape(context.labels[model])}</h3>")
        parts += _section(errors, store, pictures, shown)
    backgrounds = "".join(f".{each.name}{{background-image:url({each.data})}}" for each in pictures.values())
    write_text(
        output,
        pages.page(
            "Failures: the most wrong pairs",
            STYLE,
            f"<style>{backgrounds}</style>",
            pages.notes(_remarks(context, shown)),
            *parts,
        ),
    )
    summary(f"{len(pictures)} faces in the most wrong pairs of {len(scores)} models")


def find_errors(table: pd.DataFrame, far: float | None, first_faces: pd.Series | None) -> Errors:
    """The wrong decisions of one model on one benchmark in one run.

    Args:
        table: ``a, b, same, fold, score`` of the pairs.
        far: the false accept rate that sets the threshold, if the benchmark's metric is TAR at FAR; otherwise, each
            fold has the threshold that is best on the others.
        first_faces: template to the row of its first face, if ``a, b`` are templates.
    """
    scores, same = table.score.to_numpy(), table.same.to_numpy()
    thresholds = _thresholds(scores, same, table.fold.to_numpy(), far)
    rows = table[["a", "b"]] if first_faces is None else table[["a", "b"]].apply(lambda column: column.map(first_faces))
    found = rows.assign(score=scores, threshold=thresholds, distance=np.abs(scores - thresholds))
    wrong = (scores >= thresholds) != same
    ordered = found.assign(same=same)[wrong].sort_values("distance", ascending=False, kind="stable")
    return Errors(ordered[ordered.same], ordered[~ordered.same], int(same.sum()), int((~same).sum()))


def _thresholds(scores: np.ndarray, same: np.ndarray, folds: np.ndarray, far: float | None) -> np.ndarray:
    """The threshold of every pair, [pairs] float64."""
    if far is None:
        place = np.unique(folds, return_inverse=True)[1]
        return k_fold_accuracy(scores, same, folds).thresholds[place]
    threshold = threshold_at_far(scores[~same], far)
    if threshold is None:
        raise ValueError(
            f"a threshold at FAR {far:g} requires {10 / far:,.0f} impostor pairs, but there are {(~same).sum():,}: "
            "choose a larger far for this benchmark"
        )
    return np.full(len(scores), threshold)


def _first_faces(templates: str) -> pd.Series | None:
    """Template to the row of its first face; None if the benchmark's pairs are of faces."""
    members = read_table(templates)
    return members.drop_duplicates("template").set_index("template").row if len(members) else None


class Picture(NamedTuple):
    """A face as a data URI, and the CSS class that shows it."""

    name: str
    data: str


def _embed(sections: list[tuple[FaceStore, Errors]]) -> tuple[dict[tuple[str, int], Picture], int]:
    """Every face that is shown, by store and row, once; and how many pairs of a kind fit on the page."""
    cache: dict[tuple[str, int], str] = {}
    for shown in range(SHOWN, 0, -1):
        chosen = dict.fromkeys(
            (store, int(row))
            for store, errors in sections
            for table in (errors.false_rejects, errors.false_accepts)
            for row in table[["a", "b"]].head(shown).to_numpy().ravel()
        )
        for store, row in chosen:
            cache.setdefault((store.path, row), _data_uri(store, row))
        faces = [(store.path, row) for store, row in chosen]
        if shown == 1 or sum(len(cache[face]) for face in faces) <= MAX_BYTES:
            return {face: Picture(f"f{number}", cache[face]) for number, face in enumerate(faces)}, shown
    return {}, 0


def _data_uri(store: FaceStore, row: int) -> str:
    small = cv2.resize(store.image(row), (PIXELS, PIXELS), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"


def _section(errors: Errors, store: FaceStore, pictures: dict[tuple[str, int], Picture], shown: int) -> list[str]:
    """What one model gets wrong on one benchmark."""
    parts = []
    for found, number, kind, place in (
        (errors.false_rejects, errors.genuine, "genuine", "below"),
        (errors.false_accepts, errors.impostor, "impostor", "at or above"),
    ):
        if found.empty:
            parts.append(pages.paragraph(f"None of {number:,} {kind} pairs is {place} the threshold."))
            continue
        first = min(shown, len(found))
        which = "shown" if first == len(found) else f"the {first} furthest from it" if first > 1 else "the furthest"
        line = f"{len(found):,} of {number:,} {kind} pairs {'is' if len(found) == 1 else 'are'} {place} the threshold"
        figures = "".join(_figure(row, store, pictures) for row in found.head(shown).itertuples())
        parts += [pages.paragraph(f"{line}; {which}:"), f'<div class="pairs">{figures}</div>']
    return parts


def _figure(pair, store: FaceStore, pictures: dict[tuple[str, int], Picture]) -> str:
    faces, lines = (
        "",
        [f"score {pair.score:.3f}".replace("-", "−"), f"threshold {pair.threshold:.3f}".replace("-", "−")],
    )
    for row in (int(pair.a), int(pair.b)):
        identity, source = store.value("identity", row), store.value("source", row)
        name = pictures[store.path, row].name
        faces += f'<span class="face {name}" role="img" aria-label="{html.escape(identity)}"></span>'
        lines.append(f"{identity}: {source}")
    return f"<figure>{faces}<figcaption>{'<br>'.join(map(html.escape, lines))}</figcaption></figure>"


def _remarks(context: ReportContext, shown: int) -> list[str]:
    thresholds = [
        f"{label}: "
        + (
            "each fold has the threshold that is best on the other folds."
            if context.far[benchmark] is None
            else f"the threshold is that of FAR {context.far[benchmark]:g}."
        )
        for benchmark, label in context.benchmarks.items()
    ]
    fewer = ["Left out, so that the page stays small: further pairs of every kind."] if shown < SHOWN else []
    return [
        f"Of every model, at most {shown} genuine pairs (two photographs of one person) that score furthest below "
        f"their threshold, and at most {shown} impostor pairs (of two people) furthest above it.",
        f"From the run of the first seed ({context.seeds[0]}) alone. Of templates, the first face is shown.",
        *thresholds,
        *fewer,
    ]
