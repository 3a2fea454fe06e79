"""Who is trained on and who is tested: never the same people."""

import pandas as pd

from triplet_distillation.faces import pairs
from triplet_distillation.faces.store import NO_FACE, FaceStore
from triplet_distillation.files import read_table, write_table
from triplet_distillation.logs import summary


def write_pairs(store_path: str, held_out: dict, output: str) -> None:
    """Write a benchmark's pairs of held-out people: ``a, b, same, fold``.

    Args:
        held_out: ``people, folds, seed``.
    """
    identities = FaceStore(store_path).column("identity").astype(str)
    people = pairs.held_out_people(identities, held_out["people"], held_out["seed"])
    table = pairs.held_out_pairs(identities, people, held_out["folds"], held_out["seed"])
    write_table(output, table)
    summary(f"{len(table)} pairs of {len(people)} people in {held_out['folds']} folds")


def write_training_set(store_path: str, benchmark_pairs: list[str], minimum_images: int, output: str) -> None:
    """Write the faces to train on, ``row, label``: those of people in no benchmark of the same store.

    Args:
        benchmark_pairs: paths of the pairs of benchmarks on this store.
        minimum_images: identities with fewer usable faces are left out.
    """
    store = FaceStore(store_path)
    identities, flags = store.column("identity").astype(str), store.column("flag")
    tables = [read_table(path)[["a", "b"]] for path in benchmark_pairs]
    tested = set(identities[pd.concat(tables).to_numpy().ravel()]) if tables else set()
    table = pairs.training_set(identities, flags != NO_FACE, tested, minimum_images)
    write_table(output, table)
    summary(f"training set: {len(table)} faces of {table.label.nunique()} people; {len(tested)} people held out")
