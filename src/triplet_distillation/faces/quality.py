"""What may be wrong with a data set: doubles, people with too few images, people on both sides of the split."""

import hashlib
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from triplet_distillation.faces.store import FaceStore

HASH_SIDE = 16
WORDS = 8
"""A perceptual hash of 16×16 bits is eight words of 32 bits."""
NEAR = WORDS - 1
"""Largest number of differing bits of near-duplicates: with fewer than eight, one word at least is equal."""


def same_bytes(store: FaceStore) -> list[np.ndarray]:
    """Groups of rows whose faces have the same bytes, each of two or more."""
    digests = [hashlib.sha256(store.encoded(row)).digest() for row in range(len(store))]
    groups = pd.Series(range(len(digests))).groupby(digests).agg(list)
    return [np.array(rows) for rows in groups if len(rows) > 1]


def perceptual_hashes(store: FaceStore, rows: np.ndarray) -> np.ndarray:
    """For each face, whether each of 16×16 grey cells is brighter than its right neighbour, as [rows, 8] uint32."""
    bits = np.empty((len(rows), HASH_SIDE * HASH_SIDE), bool)
    for index, row in enumerate(rows):
        grey = cv2.cvtColor(store.image(row), cv2.COLOR_RGB2GRAY)
        cells = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA).astype(int)
        bits[index] = (cells[:, :-1] > cells[:, 1:]).ravel()
    return np.packbits(bits, axis=1).view(np.uint32)


def near_duplicates(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pairs of places (in ``first``, in ``second``) whose hashes differ in at most :data:`NEAR` bits, [pairs, 2].

    Only faces that share a word are compared, which loses none and needs no table of all pairs.
    """
    found: set[tuple[int, int]] = set()
    for word in range(WORDS):
        by_value = pd.Series(range(len(second))).groupby(second[:, word]).agg(list)
        for place, value in enumerate(first[:, word]):
            for other in by_value.get(value, ()):
                differing = np.bitwise_count(first[place] ^ second[other]).sum()
                if differing <= NEAR:
                    found.add((place, other))
    return np.array(sorted(found), np.int64).reshape(-1, 2)


class SplitProblems(NamedTuple):
    """Between training set and one benchmark: near-duplicates (rows of either store, [pairs, 2]) and names in both."""

    near_duplicates: np.ndarray
    people_in_both: list[str]


class Side(NamedTuple):
    """One side of a split, looked at once: its store, rows, their perceptual hashes, and whom they show."""

    store: FaceStore
    rows: np.ndarray
    hashes: np.ndarray
    people: set[str]


def side(store: FaceStore, rows: np.ndarray) -> Side:
    """The faces at ``rows`` as a side of a split."""
    return Side(store, rows, perceptual_hashes(store, rows), set(store.column("identity")[rows]))


def across_split(training: Side, test: Side) -> SplitProblems:
    """What training set and benchmark share that they should not."""
    places = near_duplicates(training.hashes, test.hashes)
    rows = np.column_stack([training.rows[places[:, 0]], test.rows[places[:, 1]]])
    return SplitProblems(rows, sorted(training.people & test.people))


def identities_with_one_image(store: FaceStore) -> int:
    """How many identities have a single face."""
    return int((np.bincount(store.column("label")) == 1).sum())


def worst(store: FaceStore, number: int) -> np.ndarray:
    """Rows that deserve a look: without a face first, then by the detector's confidence, the lowest first."""
    scores = np.nan_to_num(store.column("score"), nan=-1.0)
    if (scores == -1).all():  # aligned by the source: no detector had a say
        return np.empty(0, np.int64)
    return np.argsort(scores, kind="stable")[:number]
