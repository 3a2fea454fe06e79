"""Evaluate one model on all benchmarks, from the embeddings of the test faces."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.evaluation import verification
from triplet_distillation.evaluation.fusion import face_embeddings
from triplet_distillation.evaluation.kept_embeddings import KeptEmbeddings, read_kept_embeddings
from triplet_distillation.evaluation.templates import aggregate, weigh_faces
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import write_json
from triplet_distillation.logs import summary
from triplet_distillation.settings import EvaluationSettings, TemplateSettings
from triplet_distillation.tabular import read_table, write_table


class BenchmarkFiles(NamedTuple):
    """Paths of a benchmark's face ``store``, ``pairs`` and ``templates``, and of a model's ``embeddings``."""

    store: str
    pairs: str
    templates: str
    embeddings: str


class ResultFiles(NamedTuple):
    """Paths of an evaluation's ``metrics`` (JSON, benchmark to :class:`.verification.VerificationMetrics`) and of its
    ``scores`` (Parquet, one row per pair: ``a, b, same, fold, identity_a, identity_b, score, benchmark``)."""

    metrics: str
    scores: str


def evaluate_model(
    name: str,
    benchmarks: dict[str, BenchmarkFiles],
    settings: EvaluationSettings,
    output: ResultFiles,
) -> None:
    """Score the pairs of every benchmark, and write metrics and scores.

    Args:
        name: of the model.
        benchmarks: name to its files.
        settings: how faces and templates are fused, and the false accept rates.
        output: paths.
    """
    tables = {}
    for benchmark, files in benchmarks.items():
        pairs = read_table(files.pairs)
        tables[benchmark] = pairs.assign(score=_scores(files, pairs, settings.flip, settings.templates[benchmark]))
    write_evaluation(name, tables, settings, output)


def write_evaluation(
    name: str, tables: dict[str, pd.DataFrame], settings: EvaluationSettings, output: ResultFiles
) -> None:
    """Write a model's scores and the metrics that follow from them.

    Args:
        tables: benchmark to its pairs with their ``score``.
        name, settings, output: as for :func:`evaluate_model`.

    Raises:
        ValueError: a score is not finite, or a benchmark has no genuine or no impostor pairs.
    """
    metrics = {}
    for benchmark, table in tables.items():
        _check_scores(name, benchmark, table)
        measured = verification.evaluate(table.score.to_numpy(), table, settings.far[benchmark])
        metrics[benchmark] = dataclasses.asdict(measured)
        summary(f"{name} on {benchmark}: {verification.in_words(measured)}")
    write_json(output.metrics, metrics)
    scored = [table.assign(benchmark=benchmark) for benchmark, table in tables.items()]
    write_table(output.scores, pd.concat(scored, ignore_index=True))


def _check_scores(name: str, benchmark: str, table: pd.DataFrame) -> None:
    wrong = table[~np.isfinite(table.score)]
    if len(wrong):
        raise ValueError(
            f"{name} on {benchmark}: {len(wrong)} of {len(table)} scores are not finite; the first is of pair "
            f"{wrong.index[0]}, {wrong.a.iloc[0]} and {wrong.b.iloc[0]}: the embeddings of one of them add up to zero "
            "or are not finite: look at the faces, or change evaluation.flip"
        )
    if table.same.all() or not table.same.any():
        kind = "impostor" if table.same.all() else "genuine"
        raise ValueError(f"{benchmark} has no {kind} pairs, without which nothing can be measured: choose other pairs")


def _scores(files: BenchmarkFiles, pairs: pd.DataFrame, flip: str, fusion: TemplateSettings) -> np.ndarray:
    """The scores of a benchmark's pairs, [pairs] float64."""
    members, embeddings = read_table(files.templates), read_kept_embeddings(files.embeddings)
    if members.empty:
        return score_faces(pairs, embeddings, flip)
    weights = _detector_scores(files.store, members.row.to_numpy()) if fusion.detector_score else None
    faces = embeddings.embeddings[embeddings.places(members.row.to_numpy())]
    return score_templates(pairs, members, weigh_faces(faces, flip, weights, fusion.unit_faces))


def _detector_scores(store: str, rows: np.ndarray) -> np.ndarray:
    """The detector's scores of the faces at ``rows``, [faces]; aligned faces of a pack come without."""
    scores = FaceStore(store).column("score")[rows]
    if len(without := rows[~np.isfinite(scores)]):
        raise ValueError(
            f"{store}: {len(without)} faces have no score of a detector, the first is face {without[0]}: set "
            "templates.detector_score of the benchmark to false"
        )
    return scores


def score_faces(pairs: pd.DataFrame, embeddings: KeptEmbeddings, flip: str) -> np.ndarray:
    """Cosine similarity of every pair of faces, [pairs] float64."""
    rows = np.unique(pairs[["a", "b"]])
    faces = face_embeddings(embeddings.embeddings[embeddings.places(rows)], flip)
    places = pairs.assign(a=np.searchsorted(rows, pairs.a), b=np.searchsorted(rows, pairs.b))
    return verification.pair_scores(faces, places)


def score_templates(pairs: pd.DataFrame, members: pd.DataFrame, embeddings: np.ndarray) -> np.ndarray:
    """Cosine similarity of every pair of templates, [pairs] float64.

    Args:
        pairs: ``a, b`` are numbers of templates, from 0.
        members: ``template, media`` of every face.
        embeddings: of every face, [faces, D], from :func:`.templates.weigh_faces`.
    """
    _, fused = aggregate(embeddings, members.template.to_numpy(), members.media.to_numpy())
    return verification.cosine_similarities(fused, pairs.a.to_numpy(), pairs.b.to_numpy())
