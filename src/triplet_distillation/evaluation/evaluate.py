"""Evaluate one model on all benchmarks."""

import dataclasses

import numpy as np
import pandas as pd

from triplet_distillation.evaluation import verification
from triplet_distillation.evaluation.embed import embed, fuse
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_table, write_json, write_table
from triplet_distillation.logs import summary
from triplet_distillation.networks import weights
from triplet_distillation.networks.execution import setup_device
from triplet_distillation.settings import EvaluationSettings, ExecutionSettings


def evaluate_model(
    weights_path: str,
    benchmarks: dict[str, tuple[str, str]],
    settings: EvaluationSettings,
    execution: ExecutionSettings,
    metrics_output: str,
    scores_output: str,
) -> None:
    """Embed the faces of every benchmark with one model, score its pairs, and write metrics and scores.

    Args:
        weights_path: of the model.
        benchmarks: name to (path of the store, path of the pairs).
        settings: fusion of the flipped image, and the false accept rates.
        execution: where to run.
        metrics_output: JSON, benchmark to :class:`.verification.VerificationMetrics`.
        scores_output: Parquet, one row per pair: ``benchmark, a, b, same, fold, score, correct``.
    """
    device = setup_device(execution)
    network, metadata = weights.load(weights_path)
    metrics, tables = {}, []
    for benchmark, (store_path, pairs_path) in benchmarks.items():
        store, pairs = FaceStore(store_path), read_table(pairs_path)
        rows = np.unique(pairs[["a", "b"]])
        embeddings = fuse(embed(network, store, rows, device), settings.flip)
        places = pairs.assign(a=np.searchsorted(rows, pairs.a), b=np.searchsorted(rows, pairs.b))
        scores = verification.pair_scores(embeddings, places)
        found, correct = verification.evaluate(scores, pairs, settings.far)
        metrics[benchmark] = dataclasses.asdict(found)
        tables.append(pairs.assign(score=scores, correct=correct, benchmark=benchmark))
        summary(f"{metadata['model']} on {benchmark}: accuracy {100 * found.accuracy:.2f}%, AUC {found.auc:.4f}")
    write_json(metrics_output, metrics)
    write_table(scores_output, pd.concat(tables, ignore_index=True))
