"""Duplicates, near-duplicates, and identities with one image or on both sides are found, and nothing else."""

import hashlib
import tracemalloc

import cv2
import numpy as np
import pytest
from conftest import encode_png, make_faces

from triplet_distillation.faces import quality, store


def changed(face, **changes):
    return face._replace(**changes)


def brightened(face):
    pixels = cv2.imdecode(np.frombuffer(face.image, np.uint8), cv2.IMREAD_COLOR_RGB)
    return changed(face, image=encode_png(np.clip(pixels.astype(int) + 12, 0, 255).astype(np.uint8)))


@pytest.fixture
def stores(tmp_path):
    """Training: p0 … p3 and a duplicate. Test: p4, p5, a brighter copy of a training face, and another face of p0."""
    faces = make_faces(6, 3)
    training = [*faces[:12], changed(faces[0], source="copy.png")]
    near_duplicate = changed(brightened(faces[7]), label=4, identity="p4", source="near.png", score=0.1)
    common_identity = changed(make_faces(1, 1, seed=9)[0], label=6)
    test = [*faces[12:], near_duplicate, common_identity]
    store.write(tmp_path / "training.arrow", training, {})
    store.write(tmp_path / "test.arrow", test, {})
    return store.FaceStore(tmp_path / "training.arrow"), store.FaceStore(tmp_path / "test.arrow")


def test_same_bytes(stores):
    assert [group.tolist() for group in quality.same_bytes(stores[0])] == [[0, 12]]
    assert quality.same_bytes(stores[1]) == []


def test_problems_across_the_split(stores):
    training, test = stores
    problems = quality.compare_sides(
        quality.split_side(training, np.arange(13)), quality.split_side(test, np.arange(8))
    )
    assert problems.near_duplicates.tolist() == [[7, 6]]
    assert problems.identities_in_both == ["p0"]


def test_near_duplicates_against_all_pairs():
    random = np.random.default_rng(0)
    first = random.integers(0, 2**32, (40, 8), dtype=np.uint32)
    second = np.concatenate([first[:20], random.integers(0, 2**32, (20, 8), dtype=np.uint32)])
    for index in range(20):  # flip 0 … 12 bits, anywhere
        for bit in random.choice(256, index % 13, replace=False):
            second[index, bit // 32] ^= np.uint32(1 << int(bit % 32))
    expected = [
        [i, j]
        for i in range(40)
        for j in range(40)
        if sum(int(a ^ b).bit_count() for a, b in zip(first[i], second[j])) <= quality.NEAR
    ]
    assert quality.near_duplicates(first, second).tolist() == expected
    assert len(expected) >= 8


def test_memory_does_not_depend_on_how_many_share_a_word(monkeypatch):
    """Of 2,000 × 2,000 pairs, all have a word in common."""
    monkeypatch.setattr(quality, "CANDIDATES", 1000)
    first = np.random.default_rng(1).integers(0, 2**32, (2000, 8), dtype=np.uint32)
    first[:, 3] = 0
    tracemalloc.start()
    found = quality.near_duplicates(first, first)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tolist() == [[place, place] for place in range(2000)]
    assert peak < 2**20


def test_digests_of_bytes_are_in_one_array(tmp_path):
    """Digests are 32 bytes per face; as objects they take 65, before any of them is in a table."""
    face = make_faces(1, 1)[0]
    faces = [face._replace(image=bytes([number % 251, number // 251])) for number in range(20_000)]
    store.write(tmp_path / "s.arrow", [*faces, *faces[5:7], faces[5]], {})
    opened = store.FaceStore(tmp_path / "s.arrow")
    tracemalloc.start()
    groups = quality.same_bytes(opened)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sorted(group.tolist() for group in groups) == [[5, 20_000, 20_002], [6, 20_001]]
    digests = [hashlib.sha256(faces[group[0]].image).digest() for group in groups]
    assert digests == sorted(digests)
    assert peak < 150 * len(opened)


def test_identities_with_one_image_and_the_lowest_confidence(stores):
    assert quality.identities_with_one_image(stores[1]) == 1
    assert quality.lowest_confidence(stores[1], 2)[0] == 6
