"""Alignment against known transforms, and the choice of one of several faces."""

import cv2
import numpy as np
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
