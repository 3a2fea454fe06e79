"""Possible problems with a data set: duplicates, identities with too few images or on both sides of the split."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from triplet_distillation.faces.split import identities_in
from triplet_distillation.faces.store import FaceStore

HASH_SIDE = 16
WORDS = 8
"""A perceptual hash of 16×16 bits is eight words of 32 bits."""
NEAR = WORDS - 1
"""Largest number of differing bits between near-duplicates: with fewer than eight, at least one word is equal."""


CANDIDATES = 1 << 18
"""Pairs of hashes that are compared together: a word that many faces share has more of them than fit into memory."""


def same_bytes(store: FaceStore) -> list[np.ndarray]:
    """Groups of two or more rows whose faces have the same bytes."""
    digests = np.empty((len(store), 4), ">u8")
    for row in range(len(store)):
        digests[row] = np.frombuffer(hashlib.sha256(store.encoded(row)).digest(), ">u8")
    order = np.lexsort(digests.T[::-1])
    differs = np.ones(len(order) + 1, bool)  # from the one before
    for start in range(1, len(order), CANDIDATES):
        these = order[start - 1 : start + CANDIDATES]
        differs[start : start + len(these) - 1] = (digests[these[1:]] != digests[these[:-1]]).any(axis=1)
    starts = np.flatnonzero(differs)
    several = np.flatnonzero(np.diff(starts) > 1)
    return [order[starts[group] : starts[group + 1]] for group in several]


def perceptual_hashes(store: FaceStore, rows: np.ndarray) -> np.ndarray:
    """Difference hash of each face, [rows, 8] uint32: whether each of 16×16 cells is brighter than the next one."""
    hashes = np.empty((len(rows), WORDS), np.uint32)
    for index, row in enumerate(rows):
        gray = cv2.cvtColor(store.image(row), cv2.COLOR_RGB2GRAY)
        cells = cv2.resize(gray, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
        hashes[index] = np.packbits(cells[:, :-1] > cells[:, 1:]).view(np.uint32)
    return hashes


def near_duplicates(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pairs of places (in ``first``, in ``second``) whose hashes differ in at most :data:`NEAR` bits, [pairs, 2].

    Only faces with a word in common are compared: this finds all of them without a table of all pairs.
    """
    found = [np.empty((0, 2), np.int64)]
    for word in range(WORDS):
        for pairs in _with_equal_word(first[:, word], second[:, word]):
            a, b = first[pairs[:, 0]], second[pairs[:, 1]]
            is_new = ~(a[:, :word] == b[:, :word]).any(axis=1)  # not found by an earlier word
            near = np.bitwise_count(a ^ b).sum(axis=1) <= NEAR
            found.append(pairs[is_new & near])
    every = np.concatenate(found)
    return every[np.lexsort(every.T[::-1])]


def _with_equal_word(first: np.ndarray, second: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs of places (in ``first``, in ``second``) with the same word, [pairs, 2], :data:`CANDIDATES` at a time."""
    order = np.argsort(second, kind="stable")
    ordered = second[order]
    start = np.searchsorted(ordered, first, side="left")
    until = np.cumsum(np.searchsorted(ordered, first, side="right") - start)
    total = int(until[-1]) if len(until) else 0
    for number in range(0, total, CANDIDATES):
        numbers = np.arange(number, min(number + CANDIDATES, total))
        place = np.searchsorted(until, numbers, side="right")
        before = np.where(place > 0, until[place - 1], 0)
        yield np.stack([place, order[start[place] + numbers - before]], axis=1)


class SplitProblems(NamedTuple):
    """In training set and benchmark: near-duplicates (rows of each store, [pairs, 2]) and common identities."""

    near_duplicates: np.ndarray
    identities_in_both: list[str]


class SplitSide(NamedTuple):
    """One side of a split: its store, rows, their perceptual hashes, and their identities."""

    store: FaceStore
    rows: np.ndarray
    hashes: np.ndarray
    identities: set[str]


def split_side(store: FaceStore, rows: np.ndarray) -> SplitSide:
    """The faces at ``rows`` as a side of a split."""
    return SplitSide(store, rows, perceptual_hashes(store, rows), identities_in(store).at(rows))


def compare_sides(training: SplitSide, test: SplitSide) -> SplitProblems:
    """What training set and benchmark have in common but should not."""
    places = near_duplicates(training.hashes, test.hashes)
    rows = np.column_stack([training.rows[places[:, 0]], test.rows[places[:, 1]]])
    return SplitProblems(rows, sorted(training.identities & test.identities))


def identities_with_one_image(store: FaceStore) -> int:
    """Number of identities with a single face."""
    return int((np.bincount(store.column("label")) == 1).sum())


def lowest_confidence(store: FaceStore, number: int) -> np.ndarray:
    """Rows worth checking: first those without a face, then by the detector's confidence, lowest first."""
    scores = np.nan_to_num(store.column("score"), nan=-1.0)
    if (scores == -1).all():  # aligned by the source, without a detector
        return np.empty(0, np.int64)
    return np.argsort(scores, kind="stable")[:number]
