"""The split into training and test identities, which are disjoint."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from triplet_distillation.faces import pairs
from triplet_distillation.faces.acquire import open_source
from triplet_distillation.faces.store import NO_FACE, FaceStore
from triplet_distillation.files import read_table, write_table
from triplet_distillation.logs import summary


def write_pairs(store_path: str, images: str, source: dict[str, Any], protocol: dict, output: str) -> None:
    """Write a benchmark's pairs: ``a, b, same, fold, identity_a, identity_b``.

    Args:
        images: folder of the data set, which contains a published protocol's files.
        source: the source's settings.
        protocol: ``held_out`` with ``identities, folds, seed``, or ``published`` with ``folds``;
            ``round``: (index, number of rounds).

    Raises:
        ValueError: the source has no published protocol, or the pairs cannot be made.
    """
    store, turn = FaceStore(store_path), pairs.Round(*protocol["round"])
    if "held_out" in protocol:
        held_out, identities = protocol["held_out"], store.column("identity").astype(str)
        chosen = pairs.hold_out(identities, held_out["identities"], held_out["seed"], turn)
        table = pairs.held_out_pairs(identities, chosen, held_out["folds"], held_out["seed"])
    else:
        opened = open_source(source)
        if not opened.has_pairs:
            raise ValueError(f"the source {source['source']} has no published pairs: use held_out in the benchmark")
        named = opened.pairs(Path(images))
        folds = pairs.folds_of_round(protocol["published"]["folds"] or sorted(set(named.fold)), turn)
        table = pairs.published_pairs(named, store.column("source").astype(str), folds)
    contents = [hashlib.sha256(store.encoded(row)).digest() for row in np.unique(table[["a", "b"]])]
    table = pd.concat([table, pairs.identify(table, store.column("label"), contents)], axis=1)
    write_table(output, table)
    number = len(np.unique(table[["identity_a", "identity_b"]]))
    summary(f"{len(table)} pairs of {number} people in {table.fold.nunique()} folds")


def write_training_set(store_path: str, benchmark_pairs: list[str], minimum_images: int, output: str) -> None:
    """Write the faces to train on, ``row, label``: those of identities that no benchmark of the same store tests.

    Args:
        benchmark_pairs: paths of the pairs of benchmarks on this store.
        minimum_images: identities with fewer usable faces are left out.
    """
    store = FaceStore(store_path)
    identities = store.column("identity").astype(str)
    usable = store.column("detection_status") != NO_FACE
    tables = [read_table(path)[["a", "b"]] for path in benchmark_pairs]
    tested = set(identities[pd.concat(tables).to_numpy().ravel()]) if tables else set()
    table = pairs.training_set(identities, usable, tested, minimum_images)
    write_table(output, table)
    summary(
        f"training set: {len(table)} faces of {table.label.nunique()} identities; {len(tested)} identities held out"
    )
