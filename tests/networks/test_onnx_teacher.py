"""ONNX models as networks: their input format, their cost from the graph, and self-contained weights files."""

import cv2
import numpy as np
import onnx
import pytest
import torch

from triplet_distillation import provenance
from triplet_distillation.deployment.export import write_onnx
from triplet_distillation.evaluation.embed import embed_images
from triplet_distillation.evaluation.verification import evaluate, pair_scores
from triplet_distillation.faces import insightface
from triplet_distillation.networks import weights
from triplet_distillation.networks.profile import count_operations, profile

TINY = {"architecture": "mobilefacenet", "width": 0.25, "embedding_size": 32}
RANDOM = np.random.default_rng(2)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return weights.create(TINY).eval()


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    write_onnx(tiny, {}, 18, path)
    return path


def settings(path, **overrides):
    return {"architecture": "onnx_teacher", "path": str(path), **overrides}


def random_images(count=3):
    return RANDOM.integers(0, 256, (count, 112, 112, 3)).astype(np.uint8)


def test_embeddings_match_the_original_network(model, tiny):
    faces, cpu = random_images(), torch.device("cpu")
    embeddings = embed_images(weights.create(settings(model)), faces, cpu)
    assert np.abs(embeddings - embed_images(tiny, faces, cpu)).max() < 1e-5


def test_color_order_and_normalization_follow_the_settings(model, tiny):
    """With BGR and (p − 10) / 2 in the settings, the model receives exactly that."""
    network = weights.create(settings(model, color_order="BGR", pixel_mean=10.0, pixel_scale=2.0))
    faces = torch.from_numpy(random_images()).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = tiny((faces.flip(1).float() - 10) / 2)
    assert torch.allclose(network(weights.normalize_pixels(faces)), expected, atol=1e-4)


def test_weights_file_contains_the_model(model, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(model.read_bytes())
    weights.import_weights("teacher", settings(copy, pixel_mean=0.0), str(copy), str(tmp_path / "weights.safetensors"))
    copy.unlink()
    network, metadata = weights.load(tmp_path / "weights.safetensors")
    assert network.embedding_size == 32
    assert network(torch.zeros(2, 3, 112, 112)).shape == (2, 32)
    assert metadata["input"]["pixel_mean"] == 0.0
    assert len(metadata["imported_sha256"]) == 64


def test_cost_matches_the_original_network(model, tiny):
    cost = weights.create(settings(model)).cost()
    assert cost["flops"] == count_operations(tiny)[0]
    assert cost["parameters"] == pytest.approx(sum(p.numel() for p in tiny.parameters()), rel=0.1)  # BN is folded
    assert profile(settings(model), runs=1)["size_mib"] == pytest.approx(model.stat().st_size / 2**20)


def test_model_with_a_fixed_batch_size(model, tmp_path):
    graph = onnx.load(model)
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    del graph.graph.value_info[:]
    onnx.save(graph, tmp_path / "one.onnx")
    faces = weights.normalize_pixels(torch.from_numpy(random_images(3)).permute(0, 3, 1, 2))
    fixed, dynamic = (weights.create(settings(path))(faces) for path in (tmp_path / "one.onnx", model))
    assert torch.allclose(fixed, dynamic, atol=1e-4)


def test_invalid_models_are_rejected(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no ONNX model at nowhere\.onnx"):
        weights.create(settings("nowhere.onnx")).embedding_size  # noqa: B018
    with pytest.raises(ValueError, match="RGB or BGR"):
        weights.create(settings(model, color_order="GRB"))
    value_info = onnx.helper.make_tensor_value_info
    shape = [1, 3, 64, 64]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["a"], ["b"])], "g", [value_info("a", 1, shape)], [value_info("b", 1, shape)]
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10),
        tmp_path / "small.onnx",
    )
    with pytest.raises(ValueError, match=r"not \[N, 3, 112, 112\]"):
        weights.create(settings(tmp_path / "small.onnx"))(torch.zeros(1, 3, 112, 112))


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_pytorch_weights_are_imported(tiny, tmp_path, suffix):
    source, output = tmp_path / f"mine.{suffix}", tmp_path / "weights.safetensors"
    if suffix == "pt":
        torch.save(tiny.state_dict(), source)
    else:
        weights.save(source, tiny, TINY, {})
    weights.import_weights("teacher", TINY, str(source), str(output))
    network, metadata = weights.load(output)
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), tiny.state_dict().values()))
    assert metadata["imported_sha256"] == provenance.file_digest(source)


def test_weights_of_another_network_are_rejected_by_name(tiny, tmp_path):
    torch.save(tiny.state_dict(), tmp_path / "mine.pt")
    with pytest.raises(ValueError, match=r"mine\.pt does not contain the weights of"):
        weights.import_weights(
            "teacher", TINY | {"width": 0.5}, str(tmp_path / "mine.pt"), str(tmp_path / "w.safetensors")
        )


def test_importing_weights_executes_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        weights.import_weights("teacher", TINY, str(tmp_path / "evil.pt"), str(tmp_path / "w.safetensors"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.lfw
def test_sface_is_a_strong_teacher(datasets):
    """The first 50 genuine and 50 impostor pairs of LFW's folds 9 and 10."""
    content, same = insightface.read_verification_pack(datasets / "packs" / "faces_lfw_112x112" / "lfw.bin")
    pairs = insightface.verification_pairs(same, folds=2)
    pairs = pairs.groupby(["fold", "same"]).head(25)
    network = weights.create(
        settings(
            datasets / "models" / "sface_2021dec_int8bq.onnx",
            pixel_mean=0.0,
            pixel_scale=1.0,
            session_options={"session.disable_quant_qdq": "1"},
        )
    )
    rows = np.unique(pairs[["a", "b"]])
    faces = np.stack([decode_image(content[row]) for row in rows])
    chunks = [embed_images(network, chunk, torch.device("cpu"))[:, 0] for chunk in np.array_split(faces, 20)]
    positions = pairs.assign(a=np.searchsorted(rows, pairs.a), b=np.searchsorted(rows, pairs.b))
    metrics = evaluate(pair_scores(np.concatenate(chunks), positions), pairs, [0.1])
    assert metrics.pairs == 100
    assert metrics.accuracy >= 0.98
    assert metrics.auc >= 0.995


def decode_image(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
