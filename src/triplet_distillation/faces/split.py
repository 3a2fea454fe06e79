"""The split into training and test identities, which are disjoint, also across data sets that name people."""

import errno
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.faces import pairs
from triplet_distillation.faces.acquire import open_source
from triplet_distillation.faces.sources import Source
from triplet_distillation.faces.store import NO_FACE, FaceStore
from triplet_distillation.logs import summary
from triplet_distillation.provenance import digest
from triplet_distillation.tabular import read_table, write_table

NO_TEMPLATES = pd.DataFrame({name: np.empty(0, np.int64) for name in ("row", "template", "media")})
SHOWN = 5
"""Number of folds that an error lists."""


class PairFiles(NamedTuple):
    """Paths of a benchmark's ``pairs``, and of the faces in its ``templates``."""

    pairs: str
    templates: str


class DatasetFiles(NamedTuple):
    """Paths of a data set's face ``store`` and of its folder of ``images``."""

    store: str
    images: str


class RequiredPairs(NamedTuple):
    """What a metric requires: numbers of ``folds`` and of ``impostors`` (pairs)."""

    folds: int
    impostors: float


class Protocol(NamedTuple):
    """How a benchmark's pairs are made, in one of three ways.

    ``held_out``: ``identities, folds, seed``; ``published``: ``protocol``, ``folds``;
    ``pairs``: ``file``, ``folds``. ``round``: (index, number of rounds).
    """

    round: tuple[int, int]
    held_out: Mapping[str, Any] = MappingProxyType({})
    published: Mapping[str, Any] = MappingProxyType({})
    pairs: Mapping[str, Any] = MappingProxyType({})


def write_pairs(
    dataset: DatasetFiles, source: dict[str, Any], protocol: Protocol, required: RequiredPairs, output: PairFiles
) -> None:
    """Write a benchmark's pairs.

    Pairs: ``a, b, same, fold, identity_a, identity_b``, where ``a, b`` are rows of the store, or numbers of templates
    (from 0) if the protocol compares those. Templates: ``row`` of the store, ``template, media``, one row per face and
    template; empty if the protocol compares faces.

    Args:
        dataset: paths; the folder of images also has a published protocol's files.
        source: the source's settings.
        required: what the benchmark's metric requires.
        output: paths.

    Raises:
        ValueError: the pairs cannot be made, or not be scored.
    """
    table, templates = make_pairs(dataset, source, protocol, required)
    write_table(output.pairs, table)
    write_table(output.templates, templates)
    number = len(np.union1d(table.identity_a, table.identity_b))
    summary(f"{len(table)} pairs of {number} people in {table.fold.nunique()} folds")


def make_pairs(
    dataset: DatasetFiles, source: dict[str, Any], protocol: Protocol, required: RequiredPairs
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of pairs and of templates that :func:`write_pairs` writes."""
    store, opened, images = FaceStore(dataset.store), open_source(source), Path(dataset.images)
    if (name := protocol.published.get("protocol")) in opened.template_protocols:
        table, templates = _template_pairs(store, opened, images, name)
    else:
        table, templates = _face_pairs(store, opened, images, protocol), NO_TEMPLATES
    if problem := _problem(table, required):
        raise ValueError(f"{protocol.pairs['file']}: {problem}" if protocol.pairs else problem)
    return table, templates


def _problem(table: pd.DataFrame, required: RequiredPairs) -> str:
    """Why the pairs cannot be scored; empty if they can.

    ROC and AUC need both kinds of pairs. So does each fold, whose threshold is chosen on the other ones.
    """
    counts = pd.crosstab(table.fold, table.same).reindex(columns=[True, False], fill_value=0)
    genuine, impostor, folds = int(table.same.sum()), int((~table.same).sum()), len(counts)
    if not genuine or not impostor:
        missing = "impostor" if genuine else "genuine"
        return f"the benchmark has {genuine} genuine and {impostor} impostor pairs: it needs both; add {missing} pairs"
    if folds < required.folds:
        return (
            f"the benchmark's pairs are in {folds} fold, but its metric needs {required.folds}: accuracy takes the "
            "threshold from other folds; add folds, or use metric: tar_at_far"
        )
    one_kind = counts[(counts == 0).any(axis=1)]
    if folds > 1 and len(one_kind):
        listed = ", ".join(f"fold {fold} has {a} and {b}" for fold, a, b in one_kind[:SHOWN].itertuples())
        return (
            f"the benchmark has {genuine} genuine and {impostor} impostor pairs in {folds} folds, but {listed}"
            f"{', …' if len(one_kind) > SHOWN else ''}: each fold needs both, because its threshold comes from the "
            "others; spread both over all folds, or use fewer folds (own pairs without a column fold are divided so "
            "that each fold has both)"
        )
    if impostor < required.impostors:
        return (
            f"the benchmark has {impostor} impostor pairs, but its metric needs {required.impostors:.0f}: set a higher "
            "far, or use metric: accuracy"
        )
    return ""


def _face_pairs(store: FaceStore, source: Source, images: Path, protocol: Protocol) -> pd.DataFrame:
    """Pairs of a protocol that compares faces, as :func:`write_pairs` writes them."""
    table = _rows_of_pairs(store, source, images, protocol)
    if protocol.pairs and source.knows_identities:
        _check_identities(table, store)
    contents = [hashlib.sha256(store.encoded(row)).digest() for row in np.unique(table[["a", "b"]])]
    return pd.concat([table, pairs.identify(table, store.column("label"), contents)], axis=1)


def _check_identities(table: pd.DataFrame, store: FaceStore) -> None:
    """Whether the user's own pairs say of everyone what the data set says."""
    codes, names = identities_in(store)
    wrong = (codes[table.a] == codes[table.b]) != table.same
    if wrong.any():
        pair = table[wrong].iloc[0]
        a, b = (store.value("source", row) for row in (pair.a, pair.b))
        kind = "genuine" if pair.same else "impostor"
        raise ValueError(
            f"{a!r} and {b!r} are {kind} in the file of pairs, but the data set has "
            f"{names[codes[pair.a]]!r} and {names[codes[pair.b]]!r}: correct same"
        )


def _rows_of_pairs(store: FaceStore, source: Source, images: Path, protocol: Protocol) -> pd.DataFrame:
    if protocol.held_out:
        return _held_out_pairs(store, protocol)
    named = _chosen_pairs(source, images, protocol)
    if protocol.pairs:
        _check_images(Path(protocol.pairs["file"]), named, store)
    return pairs.as_rows(named, store.text("source"))


def identities_in(store: FaceStore) -> pairs.IdentityColumn:
    """Who is in every face of a store."""
    return pairs.IdentityColumn(*store.codes("identity"))


def _check_images(path: Path, named: pd.DataFrame, store: FaceStore) -> None:
    """Whether the store has the images in the user's own pairs."""
    names = pd.concat([named.a, named.b]).sort_index(kind="stable")
    unknown = names[pairs.find(names, store.text("source")) < 0]
    if len(unknown):
        raise ValueError(
            f"{path}, line {unknown.index[0]}: {unknown.nunique()} images of the pairs are not in the store, the "
            f"first is {unknown.iloc[0]!r}: write images as there, such as {store.value('source', 0)!r}, and leave out "
            "those that could not be read (see faces/<dataset>/alignment.csv)"
        )


def _held_out_pairs(store: FaceStore, protocol: Protocol) -> pd.DataFrame:
    identities, settings = identities_in(store), protocol.held_out
    chosen = pairs.hold_out(identities.names, settings["identities"], settings["seed"], pairs.Round(*protocol.round))
    return pairs.held_out_pairs(identities, chosen, settings["folds"], settings["seed"])


def _chosen_pairs(source: Source, images: Path, protocol: Protocol) -> pd.DataFrame:
    """The pairs in the folds of a round, as the source gives them."""
    if protocol.pairs:
        named, folds = source.read_pairs(Path(protocol.pairs["file"]), images), protocol.pairs["folds"]
    else:
        named, folds = source.pairs(images, protocol.published["protocol"]), protocol.published["folds"]
    if missing := sorted(set(folds) - set(named.fold)):
        raise ValueError(f"the benchmark's folds contain {missing}, but its pairs have {sorted(set(named.fold))}")
    return named[named.fold.isin(pairs.folds_of_round(folds or sorted(set(named.fold)), pairs.Round(*protocol.round)))]


def _template_pairs(store: FaceStore, source: Source, images: Path, protocol: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs and templates of a protocol that compares templates, as :func:`write_pairs` writes them."""
    named, members = source.pairs(images, protocol), source.templates(images, protocol)
    numbers, places = np.unique(members.template, return_inverse=True)
    a, b = (pd.Index(numbers).get_indexer(named[side]) for side in ("a", "b"))
    if missing := named.a[a < 0].tolist() + named.b[b < 0].tolist():
        raise ValueError(f"{len(missing)} templates of the pairs have no faces, the first is {missing[0]}")
    rows = pairs.rows_of(members.face, store.text("source"))
    # A template is a person's: of whichever label its first face has.
    labels = store.column("label")[rows[np.unique(places, return_index=True)[1]]]
    table = named.assign(a=a, b=b, identity_a=labels[a], identity_b=labels[b])
    templates = pd.DataFrame({"row": rows, "template": places, "media": members.media})
    return table[["a", "b", "same", "fold", "identity_a", "identity_b"]], templates


def tested_identities(dataset: DatasetFiles, source: dict[str, Any], protocol: Protocol) -> set[str]:
    """Names of the people in a benchmark's pairs."""
    store, opened, images = FaceStore(dataset.store), open_source(source), Path(dataset.images)
    if (name := protocol.published.get("protocol")) in opened.template_protocols:
        rows = pairs.rows_of(opened.templates(images, name).face.drop_duplicates(), store.text("source"))
    else:
        rows = np.unique(_rows_of_pairs(store, opened, images, protocol)[["a", "b"]])
    return identities_in(store).at(rows)


def write_test_faces(dataset: DatasetFiles, source: dict[str, Any], protocol: Protocol, output: str) -> None:
    """Write all faces, ``row`` of the store, of the people in a benchmark's pairs.

    They do not depend on which pairs these people are in.
    """
    tested = tested_identities(dataset, source, protocol)
    rows = np.flatnonzero(identities_in(FaceStore(dataset.store)).are(tested))
    write_table(output, pd.DataFrame({"row": rows}))
    summary(f"{len(rows)} faces of {len(tested)} people who are tested")


class HeldOutFaces(NamedTuple):
    """Paths of a benchmark's face ``store`` and of the table of its test ``faces``."""

    store: str
    faces: str

    def identities(self) -> set[str]:
        """Names of the people who are tested."""
        rows = np.unique(read_table(self.faces).row)
        return identities_in(FaceStore(self.store)).at(rows)


def everyone_in(tested: list[HeldOutFaces]) -> set[str]:
    """Names of the people in any of ``tested``."""
    return set().union(*(each.identities() for each in tested))


def write_training_set(store_path: str, tested: list[HeldOutFaces], minimum_images: int, output: str) -> None:
    """Write the faces to train on, ``row, label``: those of identities that no benchmark tests.

    Args:
        tested: of all benchmarks whose identities can be compared with those of the store, by name.
        minimum_images: identities with fewer usable faces are left out.
    """
    store = FaceStore(store_path)
    identities = identities_in(store)
    usable = store.column("detection_status") != NO_FACE
    held_out = everyone_in(tested) & set(identities.names)
    table = pairs.training_set(identities, usable, held_out, minimum_images)
    write_table(output, table)
    summary(
        f"training set: {len(table)} faces of {table.label.nunique()} identities; {len(held_out)} identities held out"
    )


def digest_of_tested(dataset: DatasetFiles, source: dict[str, Any], protocol: Protocol) -> str:
    """Digest of who is in a benchmark's pairs: it is equal for other pairs of the same people.

    Raises:
        FileNotFoundError: there is no store yet; the error's ``filename`` is the store.
    """
    if not Path(dataset.store).is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no face store yet", dataset.store)
    return digest(sorted(tested_identities(dataset, source, protocol)))
