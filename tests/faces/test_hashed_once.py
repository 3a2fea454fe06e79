"""Large files are read once for their digest, however often a job asks for it, and again if they have changed."""

import hashlib
import os
import tracemalloc

import pytest
from conftest import make_faces

from triplet_distillation import provenance
from triplet_distillation.faces import acquire, insightface
from triplet_distillation.faces.sources import SourceImage


@pytest.fixture
def reads(monkeypatch):
    """The sizes of the files that are read for their digests; all of them count as large."""
    monkeypatch.setattr(provenance, "LARGE", 1, raising=False)
    monkeypatch.setattr(provenance, "_known", {}, raising=False)
    sizes, digest = [], hashlib.file_digest

    def record(opened, name):
        sizes.append(os.fstat(opened.fileno()).st_size)
        return digest(opened, name)

    monkeypatch.setattr(provenance.hashlib, "file_digest", record)
    return sizes


def age(path, seconds=60):
    then = path.stat().st_mtime_ns - seconds * 10**9
    os.utime(path, ns=(then, then))


def test_a_pack_is_read_once(tmp_path, reads):
    faces = make_faces(3, 2)
    insightface.write_training_pack(tmp_path / "pack", ((face.label, face.image) for face in faces))
    for path in (tmp_path / "pack").iterdir():
        age(path)
    settings = {"source": "insightface_training", "path": str(tmp_path / "pack")}
    manifest, origin = acquire.acquire(settings, tmp_path / "out", {"folder": "downloads", "mirror": ""})
    assert sorted(reads) == sorted(path.stat().st_size for path in (tmp_path / "pack").iterdir())
    assert dict(zip(manifest.path, manifest.sha256)) == origin["files"]


def test_a_changed_file_is_read_again(tmp_path, reads):
    path = tmp_path / "file"
    path.write_bytes(b"first")
    assert provenance.file_digest(path) == hashlib.sha256(b"first").hexdigest()
    path.write_bytes(b"other")  # as long, and perhaps within the same tick of the file system's clock
    assert provenance.file_digest(path) == hashlib.sha256(b"other").hexdigest()
    age(path)
    assert provenance.file_digest(path) == provenance.file_digest(path) == hashlib.sha256(b"other").hexdigest()
    assert len(reads) == 3
    path.write_bytes(b"third")
    assert provenance.file_digest(path) == hashlib.sha256(b"third").hexdigest()


def test_small_files_are_not_remembered(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"small")
    age(path)
    known = dict(provenance._known)
    provenance.file_digest(path)
    assert provenance._known == known


def test_manifest_holds_text_in_few_bytes_per_image(tmp_path, monkeypatch):
    """Digests, of 113 bytes each as Python's objects, and paths as objects would take over 300 bytes per image."""
    (tmp_path / "a.png").write_bytes(b"image")
    images = [SourceImage("a.png", "p0")] * 30_000
    monkeypatch.setattr(acquire, "file_digest", lambda path: hashlib.sha256(os.urandom(4)).hexdigest())
    monkeypatch.setattr(acquire, "HASHED_TOGETHER", 1000)
    tracemalloc.start()
    manifest = acquire._manifest(images, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(manifest) == 30_000
    assert manifest.bytes.tolist()[:2] == [5, 5]
    assert peak < 150 * len(images)
