"""The exported model: the same embeddings, complete metadata, and an accurate model card."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from conftest import make_faces

from triplet_distillation.deployment import export as exporting
from triplet_distillation.deployment.model import Model
from triplet_distillation.evaluation.verification import VerificationMetrics, roc, threshold_at_far
from triplet_distillation.faces import align, store
from triplet_distillation.faces.acquire import open_source
from triplet_distillation.files import read_json, write_json
from triplet_distillation.networks import weights
from triplet_distillation.settings import ExportSettings
from triplet_distillation.tabular import write_table

NETWORK = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16}
SETTINGS = ExportSettings(
    study="test",
    far=[0.1, 0.01, 0.001],
    opset=18,
    parity_faces=64,
    flip="concatenate",
    title="A test",
    benchmarks={"unseen": "Unseen people"},
    teacher_license="",
)
METRICS = VerificationMetrics(
    accuracy=0.9,
    accuracy_std=0.01,
    thresholds=[0.3],
    auc=0.95,
    equal_error_rate=0.1,
    tar_at_far={},
    pairs=3000,
    genuine=1000,
    impostor=2000,
    folds=2,
)
RANDOM = np.random.default_rng(1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with an exported untrained network and synthetic scores: 2000 impostor and 1000 genuine pairs."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    network = weights.create(NETWORK)
    provenance = {"study": "test", "model": "student", "seed": 0, "digest": "d"}
    weights.save(folder / "weights.safetensors", network, NETWORK, provenance)
    metadata = {"origin": "synthetic", "license": "none", "citation": "nobody", "template": "t", "detector": "d"}
    store.write(folder / "store.arrow", make_faces(20, 5), metadata)
    scores = pd.DataFrame({"score": RANDOM.normal(size=3000).astype(np.float32), "same": np.arange(3000) < 1000})
    write_table(folder / "scores.parquet", scores.assign(benchmark="unseen"))
    write_json(folder / "metrics.json", {"unseen": dataclasses.asdict(METRICS)})
    files = exporting.StudentFiles(
        weights=str(folder / "weights.safetensors"),
        scores=str(folder / "scores.parquet"),
        metrics=str(folder / "metrics.json"),
        store=str(folder / "store.arrow"),
        teacher=str(folder / "weights.safetensors"),
    )
    exporting.export("slim", files, SETTINGS, folder / "out")
    return folder


def test_onnx_runtime_matches_pytorch_for_single_images_and_batches(exported):
    parity = read_json(exported / "out" / "parity.json")
    assert parity["faces"] == 64
    assert set(parity["lowest_cosine"]) == {"1", "64"}
    assert min(parity["lowest_cosine"].values()) >= 0.99999


def test_model_is_self_contained(exported):
    """ONNX Runtime opens it without this package: names, any batch size, and metadata as JSON."""
    session = onnxruntime.InferenceSession(exported / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        images = np.zeros((batch, 3, 112, 112), np.float32)
        assert session.run(["embeddings"], {"images": images})[0].shape == (batch, 16)
    metadata = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert metadata["input"] == {
        "input_size": [112, 112],
        "color_order": "RGB",
        "pixel_mean": 127.5,
        "pixel_scale": 128.0,
    }
    assert metadata["training_data"]["license"] == "none"
    assert [entry["far"] for entry in metadata["thresholds"]] == [0.1, 0.01, 0.001]


def test_model_contains_no_local_paths(exported):
    content = (exported / "out" / "model.onnx").read_bytes()
    assert b"/src/" not in content
    assert b"site-packages" not in content
    assert onnx.load_from_string(content).opset_import[0].version == 18


def test_onnx_and_safetensors_give_the_same_embeddings(exported):
    images = RANDOM.integers(0, 256, (3, 112, 112, 3)).astype(np.uint8)
    files = [exported / "out" / f"model.{suffix}" for suffix in ("onnx", "safetensors")]
    from_onnx, from_torch = (Model(file).embed(images) for file in files)
    assert from_onnx.shape == (3, 32)
    assert np.abs(from_onnx - from_torch).max() < 1e-4
    assert np.linalg.norm(from_onnx, axis=1) == pytest.approx(1)


def test_card_names_thresholds_that_the_data_do_not_support(exported):
    card = (exported / "out" / "README.md").read_text()
    assert "| Unseen people | 0.001 | not available: 2000 impostor pairs, but 10000 are required |" in card
    assert "| Unseen people | 90.00 | 0.9500 | 10.00 | 3000 |" in card
    assert "license: none; nobody" in card
    threshold = Model(exported / "out" / "model.onnx").metadata["thresholds"][1]["threshold"]
    assert f"| Unseen people | 0.01 | {threshold:.4f} |" in card


def test_threshold_has_the_requested_false_accept_rate():
    impostors = RANDOM.normal(size=2000)
    for far in (0.1, 0.01, 0.0055):
        assert (impostors >= threshold_at_far(impostors, far)).mean() == pytest.approx(far)
    assert threshold_at_far(impostors, 0.004) is None
    with_ties = np.repeat([0.9, 0.5, 0.1], [5, 20, 975])
    assert (with_ties >= threshold_at_far(with_ties, 0.01)).mean() == 0.005
    scores = np.concatenate([impostors, impostors + 1])
    curve = roc(scores, np.arange(4000) >= 2000)
    assert curve.far[curve.far <= 0.01].max() == (impostors >= threshold_at_far(impostors, 0.01)).mean()


def test_different_model_fails_the_parity_check(exported):
    other = weights.create(NETWORK)
    faces = store.FaceStore(exported / "store.arrow")
    with pytest.raises(exporting.ParityError, match="cosine"):
        exporting.parity(other.eval(), Model(exported / "out" / "model.onnx"), faces, np.arange(8))


def test_model_that_answers_nan_fails_the_parity_check(exported, monkeypatch):
    model, faces = Model(exported / "out" / "model.onnx"), store.FaceStore(exported / "store.arrow")
    monkeypatch.setattr(model.network, "forward", lambda images: torch.full((len(images), 16), float("nan")))
    with pytest.raises(exporting.ParityError, match="is nan"):
        exporting.parity(weights.create(NETWORK).eval(), model, faces, np.arange(8))


@pytest.mark.lfw
def test_parity_on_real_faces(datasets, tmp_path):
    pack = datasets / "packs" / "faces_lfw_112x112"
    source = open_source({"source": "insightface_training", "path": str(pack)})
    align.copy_aligned_faces(source.faces(pack), {}, tmp_path / "store.arrow")
    torch.manual_seed(0)
    network = weights.create(
        {"architecture": "mobilefacenet", "stem": 32, "stages": [40, 96, 96, 96, 96], "last_channels": 448}
    )
    exporting.write_onnx(network, {"flip": "add"}, 18, tmp_path / "model.onnx")
    faces = store.FaceStore(tmp_path / "store.arrow")
    rows = np.linspace(0, len(faces) - 1, 200).astype(int)
    parity = exporting.parity(network, Model(tmp_path / "model.onnx"), faces, rows)
    assert parity["faces"] == 200
    assert min(parity["lowest_cosine"].values()) >= 0.99999
