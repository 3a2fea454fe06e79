"""Possible problems with a data set: duplicates, identities with too few images or on both sides of the split."""

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
"""Largest number of differing bits between near-duplicates: with fewer than eight, at least one word is equal."""


def same_bytes(store: FaceStore) -> list[np.ndarray]:
    """Groups of two or more rows whose faces have the same bytes."""
    digests = [hashlib.sha256(store.encoded(row)).digest() for row in range(len(store))]
    groups = pd.Series(range(len(digests))).groupby(digests).agg(list)
    return [np.array(rows) for rows in groups if len(rows) > 1]


def perceptual_hashes(store: FaceStore, rows: np.ndarray) -> np.ndarray:
    """Difference hash of each face, [rows, 8] uint32: whether each of 16×16 cells is brighter than the next one."""
    bits = np.empty((len(rows), HASH_SIDE * HASH_SIDE), bool)
    for index, row in enumerate(rows):
        gray = cv2.cvtColor(store.image(row), cv2.COLOR_RGB2GRAY)
        cells = cv2.resize(gray, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA).astype(int)
        bits[index] = (cells[:, :-1] > cells[:, 1:]).ravel()
    return np.packbits(bits, axis=1).view(np.uint32)


def near_duplicates(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pairs of places (in ``first``, in ``second``) whose hashes differ in at most :data:`NEAR` bits, [pairs, 2].

    Only faces with a word in common are compared: this finds all of them without a table of all pairs.
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
    return SplitSide(store, rows, perceptual_hashes(store, rows), set(store.column("identity")[rows]))


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
