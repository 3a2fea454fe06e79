"""Alignment against known transforms, and the choice of one of several faces."""

import errno
import functools
import tracemalloc
from typing import ClassVar

import cv2
import numpy as np
import pandas as pd
import pytest

from triplet_distillation.faces import align, store
from triplet_distillation.faces.align import TEMPLATE
from triplet_distillation.faces.detectors import Detection, Detector
from triplet_distillation.faces.sources import SourceImage
from triplet_distillation.tabular import write_table


def transform(angle, scale, shift):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def apply(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize(("angle", "scale", "shift"), [(0, 1, (0, 0)), (0.4, 2.5, (30, -7)), (-2, 0.3, (-100, 55))])
def test_similarity_recovers_an_exact_transform(angle, scale, shift):
    matrix = transform(angle, scale, shift)
    found = align.similarity_transform(apply(matrix, TEMPLATE), TEMPLATE)
    assert np.allclose(apply(found, apply(matrix, TEMPLATE)), TEMPLATE, atol=1e-9)


def test_similarity_is_the_least_squares_solution():
    """Against numpy's general solver for the four unknowns a, b, x, y."""
    points = TEMPLATE + np.random.default_rng(0).normal(0, 4, TEMPLATE.shape)
    rows, right = [], []
    for (x, y), (u, v) in zip(points, TEMPLATE):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        right += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    assert np.allclose(align.similarity_transform(points, TEMPLATE), [[a, -b, tx], [b, a, ty]])


def test_similarity_never_flips():
    flipped = TEMPLATE * (-1, 1)
    matrix = align.similarity_transform(flipped, TEMPLATE)[:, :2]
    assert np.linalg.det(matrix) > 0


def test_warp_maps_landmarks_to_the_template():
    """Bright dots at known landmarks of an image end up at the template's points."""
    matrix = transform(0.3, 2.0, (80, 60))
    landmarks = apply(matrix, TEMPLATE)
    image = np.zeros((420, 420, 3), np.uint8)
    for x, y in landmarks:
        cv2.circle(image, (round(x), round(y)), 5, (255, 255, 255), -1)
    face = align.warp(image, landmarks)
    assert face.shape == (112, 112, 3)
    for x, y in TEMPLATE:
        column, row = round(x), round(y)
        window = face[row - 4 : row + 5, column - 4 : column + 5, 0].astype(float)
        ys, xs = np.mgrid[row - 4 : row + 5, column - 4 : column + 5]
        assert abs((window * xs).sum() / window.sum() - x) < 0.6
        assert abs((window * ys).sum() / window.sum() - y) < 0.6


def detection(x1, y1, x2, y2, score=0.9):
    box = np.array([x1, y1, x2, y2], float)
    return Detection(box, TEMPLATE, score)


def test_large_central_face_is_chosen():
    central, corner, small = detection(40, 40, 70, 70), detection(0, 0, 32, 32), detection(48, 48, 60, 60)
    assert align.choose([corner, small, central], 110, 110) is central
    assert align.choose([small, corner], 110, 110) is small


def test_detection_status():
    image = np.full((90, 60, 3), 7, np.uint8)
    no_face = align.align_face(image, [])
    assert no_face.detection_status == store.NO_FACE
    assert no_face.pixels.shape == (112, 112, 3)
    assert np.isnan(no_face.landmarks).all()
    assert align.align_face(image, [detection(0, 0, 9, 9)]).detection_status == store.ONE_FACE
    assert align.align_face(image, [detection(0, 0, 9, 9)] * 2).detection_status == store.SEVERAL_FACES


class BlindDetector(Detector):
    description = "finds nothing"

    def detect(self, images):
        return [[] for _ in images]


def test_unreadable_image_is_listed_but_not_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(align.registry, "load", lambda package, name: BlindDetector)
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((50, 40, 3), np.uint8))
    (tmp_path / "bad.png").write_text("plain text")
    (tmp_path / "empty.png").touch()
    images = [SourceImage(name, "p") for name in ("good.png", "bad.png", "empty.png", "missing.png")]
    settings = {"detector": "blind", "batch_size": 2, "shards": 1}
    table = align.build_store(images, {"p": 0}, tmp_path, settings, {}, tmp_path / "s.arrow")
    assert dict(zip(table.path, table.outcome)) == {
        "good.png": "no face",
        "bad.png": "unreadable",
        "empty.png": "unreadable",
        "missing.png": "unreadable",
    }
    assert store.FaceStore(tmp_path / "s.arrow").column("source").tolist() == ["good.png"]


def test_data_set_without_a_readable_image_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(align.registry, "load", lambda package, name: BlindDetector)
    settings = {"detector": "blind", "batch_size": 2, "shards": 2}
    (tmp_path / "bad.png").write_text("plain text")
    (tmp_path / "empty.png").touch()
    shards, listed = (
        [str(tmp_path / f"{name}.arrow") for name in "ab"],
        [str(tmp_path / f"{name}.csv") for name in "ab"],
    )
    for name, shard, outcomes in zip(("bad.png", "empty.png"), shards, listed):
        table = align.build_store([SourceImage(name, "p")], {"p": 0}, tmp_path, settings, {}, shard)
        write_table(outcomes, table)
    message = "none of the 2 images could be read: 1 × not an image in a known format; 1 × the file is empty"
    with pytest.raises(ValueError, match=message):
        align.merge_shards(shards, listed, str(tmp_path / "s.arrow"), str(tmp_path / "outcomes.csv"))


class CountingDetector(Detector):
    """Finds nothing, and fails at the batch that ``fails_at`` says."""

    description = "counts"
    batches: ClassVar[list[int]] = []
    fails_at = -1

    def detect(self, images):
        if len(self.batches) == self.fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.batches.append(len(images))
        return [[] for _ in images]


@pytest.fixture
def counted(monkeypatch):
    """The batches that are detected; a portion is two batches of two images."""
    monkeypatch.setattr(align.registry, "load", lambda package, name: CountingDetector)
    monkeypatch.setattr(align, "PORTION", 4)
    monkeypatch.setattr(CountingDetector, "batches", [])
    return CountingDetector.batches


def write_shard_images(folder, number=11):
    folder.mkdir()
    for index in range(number):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((40, 30, 3), index, np.uint8))
    (folder / "2.png").write_text("plain text")
    return [SourceImage(f"{index}.png", f"p{index // 4}") for index in range(number)]


LABELS = {"p0": 0, "p1": 1, "p2": 2}
IN_TWOS = {"detector": "counting", "batch_size": 2, "shards": 1}


def test_interrupted_alignment_resumes_with_the_same_bytes(tmp_path, counted, monkeypatch):
    images = write_shard_images(tmp_path / "images")
    (tmp_path / "out").mkdir()
    build = functools.partial(align.build_store, images, LABELS, tmp_path / "images", IN_TWOS, {"checksum": "1"})
    expected = build(tmp_path / "whole.arrow")
    assert counted == [2, 1, 2, 2, 2, 1]
    counted.clear()
    monkeypatch.setattr(CountingDetector, "fails_at", 5)
    with pytest.raises(OSError, match="No space left"):
        build(tmp_path / "out/s.arrow")
    assert not (tmp_path / "out/s.arrow").exists()
    monkeypatch.setattr(CountingDetector, "fails_at", -1)
    counted.clear()
    found = build(tmp_path / "out/s.arrow")
    assert counted == [2, 1]  # two portions of two batches were finished
    assert (tmp_path / "out/s.arrow").read_bytes() == (tmp_path / "whole.arrow").read_bytes()
    assert found.to_csv() == expected.to_csv()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["s.arrow"]


@pytest.mark.parametrize("change", ["settings", "images", "origin", "label"])
def test_portions_made_in_another_way_are_not_used(tmp_path, counted, monkeypatch, change):
    images = write_shard_images(tmp_path / "images")
    monkeypatch.setattr(CountingDetector, "fails_at", 5)
    with pytest.raises(OSError, match="No space left"):
        align.build_store(images, LABELS, tmp_path / "images", IN_TWOS, {}, tmp_path / "s.arrow")
    monkeypatch.setattr(CountingDetector, "fails_at", -1)
    counted.clear()
    settings = IN_TWOS | ({"batch_size": 4} if change == "settings" else {})
    images = images[::-1] if change == "images" else images
    labels = {"p0": 2, "p1": 1, "p2": 0} if change == "label" else LABELS
    align.build_store(
        images, labels, tmp_path / "images", settings, {"a": 1} if change == "origin" else {}, tmp_path / "s.arrow"
    )
    assert sum(counted) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "s.arrow"]


def test_large_photographs_are_not_detected_together(tmp_path, counted, monkeypatch):
    images = write_shard_images(tmp_path / "images")
    settings = IN_TWOS | {"batch_size": 8}
    align.build_store(images, LABELS, tmp_path / "images", settings, {}, tmp_path / "together.arrow")
    assert counted == [7, 3]
    counted.clear()
    monkeypatch.setattr(align, "PIXELS_TOGETHER", 3 * 40 * 30)
    table = align.build_store(images, LABELS, tmp_path / "images", settings, {}, tmp_path / "apart.arrow")
    assert counted == [3, 3, 1, 3]
    assert (tmp_path / "apart.arrow").read_bytes() == (tmp_path / "together.arrow").read_bytes()
    assert table.path.tolist()[:3] == ["2.png", "0.png", "1.png"]
    counted.clear()
    monkeypatch.setattr(align, "PIXELS_TOGETHER", 1)
    align.build_store(images, LABELS, tmp_path / "images", settings, {}, tmp_path / "apart.arrow")
    assert counted == [1] * 10


def test_manifest_is_read_in_parts(tmp_path, monkeypatch):
    """A shard holds its own lines, some at a time; the shards together are the manifest, the labels those of all."""
    monkeypatch.setattr(align, "LINES_TOGETHER", 7)
    names = ["NA", "p,1", "007", 'q"', "None"]
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(30)], "identity": [names[i // 6] for i in range(30)]})
    write_table(tmp_path / "m.csv", table.assign(bytes=5, sha256="0"))
    labels, length = align._read_labels(str(tmp_path / "m.csv"))
    assert (labels, length) == ({name: label for label, name in enumerate(names)}, 30)
    for shards in (1, 2, 4, 31):
        parts = [align._shard(length, shards, shard) for shard in range(shards)]
        assert [list(part) for part in parts] == [part.tolist() for part in np.array_split(np.arange(30), shards)]
        listed = [align.ListedImages(str(tmp_path / "m.csv"), part, {}) for part in parts]
        assert [len(images) for images in listed] == [len(part) for part in parts]
        every = [(image.path, image.identity) for images in listed for image in images]
        assert every == list(table.itertuples(index=False, name=None))


def test_memory_of_a_shard_is_not_that_of_the_manifest(tmp_path, monkeypatch):
    monkeypatch.setattr(align, "LINES_TOGETHER", 500)
    number = 50_000
    paths = [f"{'a_long_folder/' * 4}{index:06d}.png" for index in range(number)]
    identities = [f"p{index // 50}" for index in range(number)]
    write_table(tmp_path / "m.csv", pd.DataFrame({"path": paths, "identity": identities, "sha256": "0" * 64}))
    del paths, identities
    images = align.ListedImages(str(tmp_path / "m.csv"), range(number // 2, number), {})
    tracemalloc.start()
    labels, length = align._read_labels(str(tmp_path / "m.csv"))
    assert sum(1 for image in images if image.path) == number // 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(labels), length) == (1000, number)
    assert peak < 40 * number
