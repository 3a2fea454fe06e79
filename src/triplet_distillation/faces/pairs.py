"""The pairs of a benchmark: a table ``a, b, same, fold`` of store rows, and the people in them."""

from collections.abc import Container
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


class Round(NamedTuple):
    """Round ``index`` of ``count``, each of which tests other people."""

    index: int = 0
    count: int = 1


def hold_out(identities: np.ndarray, number: int, seed: int, turn: Round = Round()) -> list[str]:  # noqa: B008
    """Choose ``number`` identities at random that are not trained on, others in every round.

    Args:
        identities: their names; one may occur several times.

    Raises:
        ValueError: the data set does not have enough identities.
    """
    names = np.unique(np.asarray(identities, str))
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


class IdentityColumn(NamedTuple):
    """Who is in every face of a store: ``names[codes[i]]`` in face i, as :meth:`.FaceStore.codes` gives it.

    ``codes`` [N] int32; ``names`` [identities], distinct.
    """

    codes: np.ndarray
    names: np.ndarray

    def are(self, chosen: Container[str]) -> np.ndarray:
        """Whether each face shows one of the ``chosen``, [N] bool."""
        return np.array([name in chosen for name in self.names], bool)[self.codes]

    def at(self, rows: np.ndarray) -> set[str]:
        """The names of who is in some faces."""
        return set(self.names[np.unique(self.codes[rows])])


def held_out_pairs(identities: IdentityColumn, held_out: list[str], folds: int, seed: int) -> pd.DataFrame:
    """All genuine pairs of the ``held_out`` identities and as many impostor pairs, in identity-disjoint folds.

    As in LFW's View 2, each fold has its own identities, so that a threshold is applied to
    identities on which it was not chosen. Impostor pairs are drawn without replacement
    within a fold.

    Args:
        identities: of every face in the store.
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
        rows = np.flatnonzero(identities.are(set(members)))
        possible = PossiblePairs(identities.codes[rows])
        if possible.genuine == 0:
            raise ValueError(
                f"fold {fold} ({', '.join(members)}) has one image of each identity, but genuine pairs need two: leave "
                "identities with one image out of the data set, or lower the number of folds"
            )
        if possible.impostor < possible.genuine:
            raise ValueError(
                f"fold {fold} ({', '.join(members)}) has {possible.genuine} genuine and {possible.impostor} impostor "
                "pairs: lower the number of folds, or hold out more identities"
            )
        drawn = np.sort(random.choice(possible.impostor, possible.genuine, replace=False))
        a, b = rows[np.concatenate([possible.genuine_pairs(), possible.impostor_pairs(drawn)], axis=1)]
        same = np.arange(len(a)) < possible.genuine
        tables.append(pd.DataFrame({"a": a, "b": b, "same": same, "fold": fold}))
    return pd.concat(tables, ignore_index=True)


class PossiblePairs:
    """The pairs of n faces in the order (0, 1), (0, 2), …, (1, 2), …, which is that of ``itertools.combinations``.

    They are computed from their numbers: a list of all pairs would be quadratic in the number of faces.

    Args:
        codes: number of the identity in each face, [n].

    Attributes:
        genuine, impostor: numbers of pairs.
    """

    def __init__(self, codes: np.ndarray):
        identity = np.unique(codes, return_inverse=True)[1]
        sizes = np.bincount(identity)
        self._start = (np.cumsum(sizes) - sizes)[identity]
        self._by_identity = np.argsort(identity, kind="stable")
        self._place = np.empty(len(codes), np.int64)  # of a face among all, grouped by identity
        self._place[self._by_identity] = np.arange(len(codes))
        self._later_same = self._start + sizes[identity] - 1 - self._place
        later_others = np.arange(len(codes))[::-1] - self._later_same
        self._impostors_until = np.cumsum(later_others)
        self._identity = identity
        self.genuine, self.impostor = int(self._later_same.sum()), int(later_others.sum())

    def genuine_pairs(self) -> np.ndarray:
        """All genuine pairs in order, [2, genuine] (places of the faces)."""
        first = np.repeat(np.arange(len(self._place)), self._later_same)
        until = np.cumsum(self._later_same)
        number = np.arange(self.genuine) - (until - self._later_same)[first]
        return np.stack([first, self._by_identity[self._place[first] + 1 + number]])

    def impostor_pairs(self, numbers: np.ndarray) -> np.ndarray:
        """The impostor pairs with these ``numbers`` in their order, [2, numbers] (places of the faces).

        The second face of a pair is the t-th after the first one, once those of the first one's identity are skipped.
        With that identity's faces p₀ < p₁ < …, of which the first one is pₑ, those with p_q − q ≤ pₑ − e + t are.
        """
        first = np.searchsorted(self._impostors_until, numbers, side="right")
        t = numbers - (
            self._impostors_until[first] - np.arange(len(self._place))[::-1][first] + self._later_same[first]
        )
        rank = np.arange(len(self._place)) - self._start[self._by_identity]
        keys = self._identity[self._by_identity] * (len(self._place) + 1) + self._by_identity - rank
        e = self._place[first] - self._start[first]
        key = self._identity[first] * (len(self._place) + 1) + first - e + t
        skipped = np.searchsorted(keys, key, side="right") - self._place[first] - 1
        return np.stack([first, first + 1 + t + skipped])


def as_rows(named: pd.DataFrame, sources: pa.ChunkedArray) -> pd.DataFrame:
    """Pairs of images as pairs of rows of a store.

    Args:
        named: ``a, b`` (names of images), ``same``, ``fold``.
        sources: name of the image of every face in the store, [N] (:meth:`.FaceStore.text`).

    Raises:
        ValueError: the store does not have an image.
    """
    a, b = (rows_of(named[side], sources) for side in ("a", "b"))
    return pd.DataFrame({"a": a, "b": b, "same": named.same.to_numpy(), "fold": named.fold.to_numpy()})


def rows_of(names: pd.Series, sources: pa.ChunkedArray) -> np.ndarray:
    """The rows of the images ``names`` in a store.

    Args:
        sources: name of the image of every face in the store, [N] (:meth:`.FaceStore.text`).

    Raises:
        ValueError: the store does not have an image.
    """
    rows = find(names, sources)
    if unknown := sorted(set(names[rows < 0])):
        raise ValueError(
            f"{len(unknown)} images of the pairs are not in the store, the first is {unknown[0]!r}: the pairs belong "
            "to another data set or variant, or the image could not be read (see faces/<dataset>/alignment.csv)"
        )
    return rows


def find(names: pd.Series, sources: pa.ChunkedArray) -> np.ndarray:
    """As :func:`rows_of`, with −1 for an image that the store does not have.

    Raises:
        ValueError: the store has one of them twice.
    """
    wanted = pd.Index(names).unique()
    found = pc.call_function("index_in", [sources], pc.SetLookupOptions(pa.array(wanted, pa.string())))
    place = np.concatenate([np.empty(0, np.int32), *(chunk.fill_null(-1).to_numpy() for chunk in found.chunks)])
    there = np.flatnonzero(place >= 0)
    numbers, counts = np.unique(place[there], return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"the store has several faces from the image {wanted[numbers[counts > 1][0]]!r}")
    rows = np.full(len(wanted), -1, np.int64)
    rows[place[there]] = there
    return rows[wanted.get_indexer(names)]


def training_set(
    identities: IdentityColumn, usable: np.ndarray, tested: Container[str], minimum_images: int
) -> pd.DataFrame:
    """The faces to train on: detected faces of identities that are not in a benchmark.

    Args:
        identities: of every face in the store.
        usable: whether the face may be trained on, [N] bool.
        tested: identities of the benchmarks on the same data set.
        minimum_images: identities with fewer usable faces are left out.

    Returns:
        ``row`` (of the store), ``label`` (0 … identities − 1, in the order of the store).

    Raises:
        ValueError: fewer than two identities remain.
    """
    codes = identities.codes
    chosen = usable & ~identities.are(tested)
    enough = np.bincount(codes[chosen], minlength=len(identities.names)) >= minimum_images
    rows = np.flatnonzero(chosen & enough[codes])
    labels, kept = pd.factorize(codes[rows])
    if len(kept) < 2:
        held_out = sum(name in tested for name in identities.names)
        raise ValueError(
            f"{len(kept)} identities remain to train on without the benchmarks' {held_out} identities and those "
            f"with fewer than {minimum_images} faces: hold out fewer identities, lower training_data.minimum_images, "
            "or train on another data set"
        )
    return pd.DataFrame({"row": rows, "label": labels.astype(np.int32)})
