"""Hashes of results: of the content, not of the file; and where two studies first differ."""

import json

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper

from triplet_distillation.faces import store
from triplet_distillation.files import write_json, write_table
from triplet_distillation.networks import weights
from triplet_distillation.reporting import reproduction
from triplet_distillation.reporting.reproduction import content_hashes, first_difference


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


def test_an_onnx_models_hash_does_not_depend_on_its_metadata(tmp_path):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([], "empty", [value], [value]))
    found = []
    for digest in "ab":
        helper.set_model_props(model, {"digest": digest})
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        found.append(content_hashes(str(tmp_path / "model.onnx")))
    assert found[0] == found[1]


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


def history(tmp_path, losses):
    path = tmp_path / "history.parquet"
    write_table(path, pd.DataFrame({"step": range(len(losses)), "loss": losses}))
    return {"train": {"student/seed0/history.parquet": content_hashes(str(path))}}


def test_the_first_differing_step_is_named(tmp_path):
    published, ours = history(tmp_path, [3.0, 2.0, 1.0]), history(tmp_path, [3.0, 2.0, 1.0000001])
    assert first_difference(published, published) is None
    found = first_difference(published, ours)
    assert found == ("train", "student/seed0/history.parquet, step 2", 2)


@pytest.mark.parametrize("losses", [[3.0, 2.0], []])
def test_missing_steps_are_a_difference(losses, tmp_path):
    published, ours = history(tmp_path, [3.0, 2.0, 1.0]), history(tmp_path, losses)
    assert first_difference(published, ours).what.endswith(f"step {len(losses)}")


def test_missing_results_are_a_difference():
    assert first_difference({"embed": {"a.npy": {"content": "1"}}}, {}) == ("embed", "a.npy, content", 0)


def test_studies_from_hashes_to_comparison(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(reproduction, "summary", lines.append)
    (tmp_path / "table2.csv").write_text("model,orl\nstudent,88\n")
    stages = {"tables": [str(tmp_path / "table2.csv")]}
    reproduction.hash_study(stages, str(tmp_path), str(tmp_path / "published.json"))
    reproduction.compare(
        str(tmp_path / "published.json"), str(tmp_path / "published.json"), str(tmp_path / "same.json")
    )
    assert json.loads((tmp_path / "same.json").read_text())["equal"]
    assert "reproduced: every bit" in lines[-1]

    (tmp_path / "table2.csv").write_text("model,orl\nstudent,87\n")
    reproduction.hash_study(stages, str(tmp_path), str(tmp_path / "ours.json"))
    published = json.loads((tmp_path / "published.json").read_text())
    published["environment"]["versions"]["torch"] = "2.12.0"
    write_json(tmp_path / "published.json", published)
    reproduction.compare(str(tmp_path / "published.json"), str(tmp_path / "ours.json"), str(tmp_path / "other.json"))
    found = json.loads((tmp_path / "other.json").read_text())
    assert found["first_difference"] == {"stage": "tables", "what": "table2.csv, content", "equal": 0}
    assert "stage tables, table2.csv, content" in lines[-1]
    assert "instead of 2.12.0" in lines[-1]
