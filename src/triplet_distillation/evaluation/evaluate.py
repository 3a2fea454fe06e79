"""One model on all benchmarks."""

import numpy as np
import pandas as pd

from triplet_distillation.evaluation import verification
from triplet_distillation.evaluation.embed import combine, embed
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_table, write_json, write_table
from triplet_distillation.logs import summary
from triplet_distillation.networks import weights
from triplet_distillation.networks.execution import prepare


def evaluate_model(
    name: str,
    weights_path: str,
    benchmarks: dict[str, tuple[str, str]],
    settings: dict,
    execution: dict,
    figures: str,
    scores: str,
) -> None:
    """Embed every benchmark's faces with one model, score its pairs, and write figures and scores.

    Args:
        name: of the model.
        weights_path: of the model.
        benchmarks: name to (path of the store, path of the pairs).
        settings: ``mirror`` and ``far``.
        execution: ``threads`` and ``device``.
        figures: JSON, benchmark to :func:`.verification.evaluate`'s figures.
        scores: Parquet, one row a pair: ``benchmark, a, b, same, fold, score, correct``.
    """
    device = prepare(execution)
    network, _ = weights.load(weights_path)
    all_figures, tables = {}, []
    for benchmark, (store_path, pairs_path) in benchmarks.items():
        store, pairs = FaceStore(store_path), read_table(pairs_path)
        rows = np.unique(pairs[["a", "b"]])
        embeddings = combine(embed(network, store, rows, device), settings["mirror"])
        places = pairs.assign(a=np.searchsorted(rows, pairs.a), b=np.searchsorted(rows, pairs.b))
        pair_scores = verification.pair_scores(embeddings, places)
        all_figures[benchmark], correct = verification.evaluate(pair_scores, pairs, settings["far"])
        tables.append(pairs.assign(score=pair_scores, correct=correct, benchmark=benchmark))
        found = all_figures[benchmark]
        summary(f"{name} on {benchmark}: accuracy {100 * found['accuracy']:.2f} %, AUC {found['auc']:.4f}")
    write_json(figures, all_figures)
    write_table(scores, pd.concat(tables, ignore_index=True))
