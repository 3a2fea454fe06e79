"""Embeddings of faces and flipped faces, and how they are fused."""

import hashlib
import os
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from triplet_distillation import provenance, row_files
from triplet_distillation.evaluation import embed as embed_module
from triplet_distillation.evaluation import teacher_cache
from triplet_distillation.evaluation.embed import embed
from triplet_distillation.evaluation.fusion import face_embeddings, fuse, normalize
from triplet_distillation.evaluation.teacher_cache import write_teacher_embeddings
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_json
from triplet_distillation.networks import weights
from triplet_distillation.settings import ExecutionSettings

NETWORK = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 8}


def test_embed_matches_images_and_flipped_images_one_by_one(small_store):
    torch.manual_seed(0)
    network = weights.create(NETWORK).eval()
    store = FaceStore(small_store)
    rows = np.array([4, 0, 17])
    embeddings = embed(network, store, rows, torch.device("cpu"), batch_size=2)
    assert embeddings.shape == (3, 2, 8)
    for row, pair in zip(rows, embeddings):
        for image, embedding in zip((store.image(row), store.image(row)[:, ::-1]), pair):
            pixels = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() - 127.5) / 128
            expected = network(pixels)[0].detach().numpy()
            assert np.allclose(embedding, expected, atol=1e-5)


@pytest.mark.parametrize(("flip", "size"), [("concatenate", 6), ("add", 3), ("none", 3)])
def test_fuse(flip, size):
    outputs = np.random.default_rng(0).normal(size=(5, 2, 3))
    embeddings, fused = normalize(outputs), face_embeddings(outputs, flip)
    assert fused.shape == (5, size)
    assert np.allclose(np.linalg.norm(fused, axis=1), 1)
    expected = {
        "concatenate": embeddings.reshape(5, 6),
        "add": embeddings[:, 0] + embeddings[:, 1],
        "none": embeddings[:, 0],
    }[flip]
    assert np.allclose(fused * np.linalg.norm(expected, axis=1, keepdims=True), expected)


def test_unknown_flip_mode_is_rejected():
    with pytest.raises(ValueError, match="concatenate, add, none"):
        fuse(np.ones((1, 2, 3)), "concat")


def test_teacher_cache_records_where_it_comes_from(small_store, tmp_path):
    network = weights.create(NETWORK)
    weights.save(tmp_path / "w.safetensors", network, NETWORK, {"study": "test"})
    execution = ExecutionSettings(threads=1, device="cpu")
    write_teacher_embeddings(
        tmp_path / "w.safetensors", small_store, execution, tmp_path / "e.npy", tmp_path / "e.json"
    )
    cached, sidecar = np.load(tmp_path / "e.npy", mmap_mode="r"), read_json(tmp_path / "e.json")
    assert cached.shape == (30, 2, 8)
    assert np.allclose(np.linalg.norm(cached, axis=2), 1, atol=1e-5)
    assert sidecar["normalized"] is True
    assert sidecar["input"]["color_order"] == "RGB"
    assert sidecar["store"] == {"origin": "synthetic", "checksum": "0"}


def test_missing_gpu_is_reported(small_store, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    execution = ExecutionSettings(threads=1, device="cuda")
    with pytest.raises(RuntimeError, match=r"execution\.device is cuda"):
        write_teacher_embeddings("w", small_store, execution, tmp_path / "e.npy", tmp_path / "e.json")


def test_interrupted_embedding_resumes_to_the_same_bytes(small_store, tmp_path, monkeypatch):
    """It embeds again only what was not saved, and leaves nothing beside its outputs."""
    weights.save(tmp_path / "w.safetensors", weights.create(NETWORK), NETWORK, {"study": "test"})
    monkeypatch.setattr(teacher_cache, "BATCH_SIZE", 4)
    monkeypatch.setattr(row_files, "SAVE_EVERY", 1)
    original, embedded = embed_module.embed_images, []

    def write(name, stop_after=1000, code="1"):
        def embed_images(network, images, device):
            if len(embedded) == stop_after:
                raise KeyboardInterrupt
            embedded.append(len(images))
            return original(network, images, device)

        embedded.clear()
        monkeypatch.setattr(embed_module, "embed_images", embed_images)
        outputs = (tmp_path / name / "e.npy", tmp_path / name / "e.json")
        execution = ExecutionSettings(threads=1, device="cpu")
        write_teacher_embeddings(tmp_path / "w.safetensors", small_store, execution, *outputs, code)
        return outputs[0].read_bytes()

    whole = write("whole")
    assert sum(embedded) == 30
    for code, again in (("1", 18), ("2", 30)):
        with pytest.raises(KeyboardInterrupt):
            write(f"stopped{code}", stop_after=3)
        assert write(f"stopped{code}", code=code) == whole
        assert sum(embedded) == again
        assert sorted(path.name for path in (tmp_path / f"stopped{code}").iterdir()) == ["e.json", "e.npy"]


def test_sidecar_has_the_checksum_so_that_nobody_computes_it_again(small_store, tmp_path):
    weights.save(tmp_path / "w.safetensors", weights.create(NETWORK), NETWORK, {"study": "test"})
    execution = ExecutionSettings(threads=1, device="cpu")
    path = tmp_path / "e.npy"
    write_teacher_embeddings(tmp_path / "w.safetensors", small_store, execution, path, tmp_path / "e.json")
    record = read_json(tmp_path / "e.json")["file"]
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert provenance.recorded_digest(path, record | {"sha256": "as recorded"}) == "as recorded"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(path, (1, 1))
    assert provenance.recorded_digest(path, record) == hashlib.sha256(path.read_bytes()).hexdigest()


class Constant(nn.Module):
    """Long embeddings at once."""

    def forward(self, images):
        return torch.ones(len(images), 8192)


def test_embeddings_are_in_memory_once(small_store):
    rows = np.zeros(500, int)
    tracemalloc.start()
    embeddings = embed(Constant(), FaceStore(small_store), rows, torch.device("cpu"), batch_size=4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert embeddings.shape == (500, 2, 8192)
    assert (embeddings == 1).all()
    assert peak < 1.5 * embeddings.nbytes
