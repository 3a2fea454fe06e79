"""The pairs of a benchmark: a table ``a, b, same, fold`` of store rows, and the people in them."""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


class Round(NamedTuple):
    """Round ``index`` of ``count``, each of which tests other people."""

    index: int = 0
    count: int = 1


def hold_out(identities: np.ndarray, number: int, seed: int, turn: Round = Round()) -> list[str]:  # noqa: B008
    """Choose ``number`` identities at random that are not trained on, others in every round.

    Args:
        identities: of every face, [N].

    Raises:
        ValueError: the data set does not have enough identities.
    """
    names = np.unique(identities)
    needed = number * turn.count
    if not 2 <= number < len(names) or needed > len(names):
        most = min(len(names) - 2, len(names) // turn.count)
        raise ValueError(
            f"held_out.identities is {number}, but the data set has {len(names)} identities: in {turn.count} "
            f"round{'s' * (turn.count > 1)}, {f'4 … {most}' if most >= 4 else 'none'} can be held out (two or more "
            "for each fold, and two must remain to train on)"
        )
    drawn = np.random.default_rng(seed).choice(names, needed, replace=False)
    return sorted(drawn[turn.index * number : (turn.index + 1) * number])


def folds_of_round(folds: list[int], turn: Round) -> list[int]:
    """The folds of a published protocol that a round tests: consecutive ones, as many in each round.

    Raises:
        ValueError: a round would have fewer than two folds, so that no threshold could be chosen on another one.
    """
    if turn.count > 1 and len(folds) < 2 * turn.count:
        raise ValueError(f"{turn.count} rounds need at least {2 * turn.count} folds, but there are {len(folds)}")
    return np.array_split(np.array(sorted(folds)), turn.count)[turn.index].tolist()


def identify(pairs: pd.DataFrame, labels: np.ndarray, contents: list[bytes]) -> pd.DataFrame:
    """The identities in ``pairs``, as numbers ``identity_a, identity_b`` [pairs].

    A source may not know who is in its images (InsightFace's packs). Two images show the same identity if they have
    the same label or the same content, or are a genuine pair.

    Args:
        labels: of every face in the store, [N].
        contents: anything that is equal for equal images, for the rows in ``np.unique(pairs[["a", "b"]])``.
    """
    rows, codes = np.unique(pairs[["a", "b"]], return_inverse=True)
    a, b = codes.reshape(-1, 2).T
    groups = [pd.factorize(labels[rows])[0], pd.factorize(pd.Series(contents))[0]]
    offsets = len(rows) + np.array([0, groups[0].max() + 1])
    links = [np.stack([np.arange(len(rows)), group + offset]) for group, offset in zip(groups, offsets)]
    links.append(np.stack([a[pairs.same], b[pairs.same]]))
    first, second = np.concatenate(links, axis=1)
    size = int(max(first.max(), second.max())) + 1
    identity = connected_components(coo_array((np.ones(len(first)), (first, second)), (size, size)), directed=False)[1]
    numbers = pd.factorize(identity[: len(rows)])[0]
    return pd.DataFrame({"identity_a": numbers[a], "identity_b": numbers[b]})


def held_out_pairs(identities: np.ndarray, held_out: list[str], folds: int, seed: int) -> pd.DataFrame:
    """All genuine pairs of the ``held_out`` identities and as many impostor pairs, in identity-disjoint folds.

    As in LFW's View 2, each fold has its own identities, so that a threshold is applied to
    identities on which it was not chosen. Impostor pairs are drawn without replacement
    within a fold.

    Args:
        identities: of every face in the store, [N].
        held_out: the held-out identities.
        folds: number of folds; each needs two identities.
        seed: of the impostor pairs and the folds.

    Raises:
        ValueError: too few identities for the folds, or too few impostor pairs in one.
    """
    if len(held_out) < 2 * folds:
        raise ValueError(f"{folds} folds need at least {2 * folds} held-out identities, but there are {len(held_out)}")
    random = np.random.default_rng([seed, 1])
    tables = []
    for fold, members in enumerate(np.array_split(random.permutation(held_out), folds)):
        rows = np.flatnonzero(np.isin(identities, members))
        pairs = np.array(list(itertools.combinations(rows, 2)))
        same = identities[pairs[:, 0]] == identities[pairs[:, 1]]
        if same.sum() == 0:
            raise ValueError(
                f"fold {fold} ({', '.join(members)}) has one image of each identity, but genuine pairs need two: leave "
                "identities with one image out of the data set, or lower the number of folds"
            )
        if (~same).sum() < same.sum():
            raise ValueError(
                f"fold {fold} ({', '.join(members)}) has {same.sum()} genuine and {(~same).sum()} impostor pairs: "
                "lower the number of folds, or hold out more identities"
            )
        impostors = np.sort(random.choice(np.flatnonzero(~same), same.sum(), replace=False))
        chosen = np.concatenate([np.flatnonzero(same), impostors])
        tables.append(pd.DataFrame({"a": pairs[chosen, 0], "b": pairs[chosen, 1], "same": same[chosen], "fold": fold}))
    return pd.concat(tables, ignore_index=True)


def as_rows(named: pd.DataFrame, sources: np.ndarray) -> pd.DataFrame:
    """Pairs of images as pairs of rows of a store.

    Args:
        named: ``a, b`` (names of images), ``same``, ``fold``.
        sources: name of the image of every face in the store, [N].

    Raises:
        ValueError: the store does not have an image.
    """
    a, b = (rows_of(named[side], sources) for side in ("a", "b"))
    return pd.DataFrame({"a": a, "b": b, "same": named.same.to_numpy(), "fold": named.fold.to_numpy()})


def rows_of(names: pd.Series, sources: np.ndarray) -> np.ndarray:
    """The rows of the images ``names`` in a store.

    Args:
        sources: name of the image of every face in the store, [N].

    Raises:
        ValueError: the store does not have an image.
    """
    rows = pd.Index(sources).get_indexer(names)
    if unknown := sorted(set(names[rows < 0])):
        raise ValueError(
            f"{len(unknown)} images of the pairs are not in the store, the first is {unknown[0]!r}: the pairs belong "
            "to another data set or variant, or the image could not be read (see faces/<dataset>/alignment.csv)"
        )
    return rows


def training_set(identities: np.ndarray, usable: np.ndarray, tested: set[str], minimum_images: int) -> pd.DataFrame:
    """The faces to train on: detected faces of identities that are not in a benchmark.

    Args:
        identities: of every face in the store, [N].
        usable: whether the face may be trained on, [N] bool.
        tested: identities of the benchmarks on the same data set.
        minimum_images: identities with fewer usable faces are left out.

    Returns:
        ``row`` (of the store), ``label`` (0 … identities − 1, in the order of the store).

    Raises:
        ValueError: fewer than two identities remain.
    """
    faces = pd.DataFrame({"row": np.flatnonzero(usable), "identity": identities[usable]})
    faces = faces[~faces.identity.isin(tested)]
    faces = faces[faces.groupby("identity").row.transform("size") >= minimum_images]
    labels, names = pd.factorize(faces.identity)
    if len(names) < 2:
        raise ValueError(
            f"{len(names)} identities remain to train on without the benchmarks' {len(tested)} identities and those "
            f"with fewer than {minimum_images} faces: hold out fewer identities, lower training_data.minimum_images, "
            "or train on another data set"
        )
    return pd.DataFrame({"row": faces.row.to_numpy(), "label": labels.astype(np.int32)})
