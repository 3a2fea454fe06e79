"""Hashes of results: of the content, not of the file; and where two studies first differ."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from onnx import TensorProto, helper

from triplet_distillation import provenance, row_files
from triplet_distillation.faces import store
from triplet_distillation.files import write_json
from triplet_distillation.networks import weights
from triplet_distillation.reporting import reproduction
from triplet_distillation.reporting.reproduction import content_hashes, first_difference
from triplet_distillation.tabular import write_table
from triplet_distillation.training import loss_files


def write_store(path, metadata, score=0.5):
    rows = [store.StoreRow(b"png", 0, "anna", "anna/1.png", np.arange(10, dtype=np.float32), score, store.ONE_FACE)]
    store.write(path, rows, metadata)
    return content_hashes(str(path))


def test_a_stores_hash_depends_on_its_faces_and_not_on_its_metadata(tmp_path):
    one = write_store(tmp_path / "1.arrow", {"origin": "here"})
    assert one == write_store(tmp_path / "2.arrow", {"origin": "there"})
    assert one != write_store(tmp_path / "3.arrow", {"origin": "here"}, score=np.nextafter(np.float32(0.5), 1))


def test_weights_have_an_initial_and_a_trained_hash(tmp_path):
    settings = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 8}
    network, path = weights.create(settings), tmp_path / "weights.safetensors"
    weights.save(path, network, settings, {"digest": "a", "initial": "0123456789abcdef0123"})
    first = content_hashes(str(path))
    weights.save(path, network, settings, {"digest": "b", "initial": "0123456789abcdef0123"})
    assert content_hashes(str(path)) == first
    assert first["initial"] == "0123456789abcdef"
    next(network.parameters()).data[0] += 1e-7
    weights.save(path, network, settings, {"digest": "b", "initial": "0123456789abcdef0123"})
    assert content_hashes(str(path))["trained"] != first["trained"]


def test_an_onnx_models_hash_depends_on_its_weights_and_not_on_its_metadata(tmp_path):
    found = []
    for digest, weight in (("a", 1.0), ("b", 1.0), ("b", 2.0)):
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        constant = helper.make_tensor("weight", TensorProto.FLOAT, [1], [weight])
        model = helper.make_model(helper.make_graph([], "one weight", [value], [value], [constant]))
        helper.set_model_props(model, {"digest": digest})
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        found.append(content_hashes(str(tmp_path / "model.onnx")))
    assert found[0] == found[1] != found[2]


def test_tables_and_arrays(tmp_path):
    write_table(tmp_path / "scores.parquet", pd.DataFrame({"benchmark": ["a", "b"], "score": [0.1, 0.2]}))
    first = content_hashes(str(tmp_path / "scores.parquet"))
    write_table(tmp_path / "scores.parquet", pd.DataFrame({"benchmark": ["a", "c"], "score": [0.1, 0.2]}))
    assert content_hashes(str(tmp_path / "scores.parquet")) != first
    np.save(tmp_path / "a.npy", np.zeros(3, np.float32))
    np.save(tmp_path / "b.npy", -np.zeros(3, np.float32))
    assert content_hashes(str(tmp_path / "a.npy")) != content_hashes(str(tmp_path / "b.npy"))


def test_an_unknown_kind_of_file_is_named():
    with pytest.raises(ValueError, match=r"model\.pkl: there is no hash"):
        content_hashes("model.pkl")


def training(tmp_path, losses, initial="0" * 64):
    """Hashes of a training run with these losses."""
    settings = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 8}
    torch.manual_seed(0)
    folder = tmp_path / "student/seed0"
    weights.save(folder / "weights.safetensors", weights.create(settings), settings, {"initial": initial})
    write_table(folder / "history.parquet", pd.DataFrame({"step": range(len(losses)), "loss": losses}))
    files = [str(folder / name) for name in ("history.parquet", "weights.safetensors")]
    reproduction.hash_study({"train": files}, "configuration", str(tmp_path), str(tmp_path / "hashes.json"))
    return json.loads((tmp_path / "hashes.json").read_text())["stages"]


def test_the_first_differing_step_is_named(tmp_path):
    published, ours = training(tmp_path, [3.0, 2.0, 1.0]), training(tmp_path, [3.0, 2.0, 1.0000001])
    assert first_difference(published, published) is None
    assert first_difference(published, ours) == ("train", "student/seed0, step 2", "different", 3)


def test_other_initial_weights_are_named_before_the_first_step(tmp_path):
    published, ours = training(tmp_path, [3.0]), training(tmp_path, [4.0], initial="1" * 64)
    assert first_difference(published, ours).what == "student/seed0, initial weights"


@pytest.mark.parametrize("losses", [[3.0, 2.0], []])
def test_missing_and_additional_steps_are_a_difference(losses, tmp_path):
    longer, shorter = training(tmp_path, [3.0, 2.0, 1.0]), training(tmp_path, losses)
    expected = ("train", f"student/seed0, step {len(losses)}")
    found = first_difference(longer, shorter)
    assert (found.stage, found.what, found.kind) == (*expected, "missing here")
    found = first_difference(shorter, longer)
    assert (found.stage, found.what, found.kind) == (*expected, "not published")


def test_missing_results_are_a_difference():
    assert first_difference({"embed": {"a.npy": {"content": "1"}}}, {}) == ("embed", "a.npy", "missing here", 0)


def test_a_file_without_hashes_is_refused(tmp_path):
    write_json(tmp_path / "published.json", {"stages": {}})
    with pytest.raises(ValueError, match="published_hashes must be a"):
        reproduction.compare(*[str(tmp_path / "published.json")] * 2, str(tmp_path / "out.json"))


def test_studies_from_hashes_to_comparison(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(reproduction, "summary", lines.append)
    published, ours, output = (str(tmp_path / name) for name in ("published.json", "ours.json", "output.json"))
    stages = {"tables": [str(tmp_path / "table2.csv")]}
    (tmp_path / "table2.csv").write_text("model,orl\nstudent,88\n")
    reproduction.hash_study(stages, "a", str(tmp_path), published)
    reproduction.compare(published, published, output)
    assert json.loads((tmp_path / "output.json").read_text())["equal"]
    assert "reproduced: every bit" in lines[-1]

    (tmp_path / "table2.csv").write_text("model,orl\nstudent,87\n")
    reproduction.hash_study(stages, "b", str(tmp_path), ours)
    changed = json.loads((tmp_path / "published.json").read_text())
    changed["environment"]["versions"] |= {"torch": "2.12.0", "mxnet": "1.9.1"}
    write_json(published, changed)
    reproduction.compare(published, ours, output)
    found = json.loads((tmp_path / "output.json").read_text())["first_difference"]
    assert found == {"stage": "tables", "what": "table2.csv", "kind": "different", "equal": 0}
    for text in (
        "table2.csv (stage tables) is different",
        "instead of 2.12.0",
        "mxnet absent",
        "another configuration",
    ):
        assert text in lines[-1]


def test_class_means_and_the_state_of_a_loss_have_hashes(tmp_path):
    np.save(tmp_path / "teacher.npy", np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32))
    write_table(tmp_path / "training_set.parquet", pd.DataFrame({"row": [0, 1, 4, 5], "label": [0, 0, 1, 1]}))
    means, state = str(tmp_path / "means.safetensors"), str(tmp_path / "loss.safetensors")
    loss_files.write_class_means(str(tmp_path / "training_set.parquet"), str(tmp_path / "teacher.npy"), means)
    loss_files.write_loss_state(state, torch.nn.Linear(2, 3), {"digest": "a"})
    assert content_hashes(means).keys() == content_hashes(state).keys() == {"content"}


def test_embeddings_are_hashed_in_blocks_with_the_digest_of_the_whole(tmp_path, monkeypatch):
    embeddings = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)
    np.save(tmp_path / "embeddings.npy", embeddings)
    monkeypatch.setattr(row_files, "BLOCK", 100)
    whole = provenance.array_digest({"": embeddings})
    assert content_hashes(str(tmp_path / "embeddings.npy")) == {"content": whole[: reproduction.DIGITS]}


def test_text_of_a_store_has_the_digest_of_python_objects():
    names = ["anna", "it's", "Zoë", "", "anna"]
    numbers = np.arange(5)
    in_chunks = {"name": pa.chunked_array([names[:2], [], names[2:]], pa.string()), "number": numbers}
    objects = {"name": np.array(names, object), "number": numbers}
    assert reproduction._columns_digest(in_chunks) == reproduction._columns_digest(objects)
    assert reproduction._columns_digest(in_chunks) != reproduction._columns_digest({**objects, "name": numbers})
