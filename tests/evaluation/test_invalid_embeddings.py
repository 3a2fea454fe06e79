"""A model that answers NaN, infinity or zero is no result: it stops where the number arises."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_faces
from torch import nn

from triplet_distillation.evaluation.embed import embed, embed_test_faces
from triplet_distillation.evaluation.evaluate import BenchmarkFiles, ResultFiles, evaluate_model, write_evaluation
from triplet_distillation.evaluation.kept_embeddings import KeptEmbeddings
from triplet_distillation.evaluation.teacher_cache import write_teacher_embeddings
from triplet_distillation.faces import store
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_json, write_json
from triplet_distillation.networks import weights
from triplet_distillation.settings import EvaluationSettings, ExecutionSettings, TemplateSettings
from triplet_distillation.tabular import write_table

NETWORK = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 8}
CPU = ExecutionSettings(threads=1, device="cpu")


class Answers(nn.Module):
    """Answers ones, but ``number`` for one image of a batch; the flipped copies are the second half of it."""

    def __init__(self, place, number):
        super().__init__()
        self.place, self.number = place, number

    def forward(self, images):
        answers = torch.ones(len(images), 4)
        answers[self.place] = self.number
        return answers


@pytest.mark.parametrize(
    ("place", "number", "message"),
    [
        (1, float("nan"), r"the embedding of face 4 of .*store\.arrow \(p0/4\.png\) contains NaN \(first of 1 in 3"),
        (1, float("inf"), "contains infinity"),
        (1, 0.0, r"face 4 .* is zero .*choose other weights"),
        (1, 1e-30, "too short to be normalized"),
        (1, 3e38, "too long"),
        (3 + 2, float("nan"), r"the flipped copy of face 17 of .* \(p3/2\.png\) contains NaN.*finite.*fp16"),
    ],
)
def test_the_first_such_face_is_named(small_store, place, number, message):
    rows = np.array([0, 4, 17])
    with pytest.raises(ValueError, match=rf"^the model: .*{message}"):
        embed(Answers(place, number), FaceStore(small_store), rows, torch.device("cpu"), model="the model")


@pytest.fixture
def overflowing(tmp_path):
    """Finite weights that overflow in the forward pass."""
    network = weights.create(NETWORK)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1e20)
    path = tmp_path / "w.safetensors"
    weights.save(path, network, NETWORK, {"name": "teacher"})
    return path


def test_no_embeddings_are_kept_of_a_model_that_overflows(overflowing, small_store, tmp_path):
    message = r"^teacher \(.*w\.safetensors\): the embedding of face 0 .*p0/0\.png.* contains .*weights are finite"
    with pytest.raises(ValueError, match=message):
        write_teacher_embeddings(overflowing, small_store, CPU, tmp_path / "e.npy", tmp_path / "e.json")
    write_table(tmp_path / "tested.parquet", pd.DataFrame({"row": [0, 1]}))
    with pytest.raises(ValueError, match=message):
        embed_test_faces(overflowing, small_store, [tmp_path / "tested.parquet"], CPU, tmp_path / "kept.safetensors")
    assert not any((tmp_path / name).exists() for name in ("e.npy", "e.json", "kept.safetensors"))


def scored(scores, same):
    number = len(scores)
    return pd.DataFrame({"a": range(number), "b": 9, "same": same, "fold": np.arange(number) % 2, "score": scores})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (scored([0.5, float("nan"), 0.2, 0.1], [True, False] * 2), "student on x: 1 of 4 scores .* pair 1, 1 and 9"),
        (scored([0.5, 0.1, 0.2, float("-inf")], [True, False] * 2), "1 of 4 scores .* pair 3"),
        (scored([0.5, 0.1], [True, True]), "x has no impostor pairs"),
        (scored([0.5, 0.1], [False, False]), "x has no genuine pairs"),
    ],
)
def test_what_cannot_be_measured_is_not_written(tmp_path, table, message):
    output = ResultFiles(str(tmp_path / "metrics.json"), str(tmp_path / "scores.parquet"))
    with pytest.raises(ValueError, match=message):
        write_evaluation("student", {"x": table}, EvaluationSettings("none", {"x": [0.5]}, {}), output)
    assert not list(tmp_path.iterdir())


def test_faces_and_flipped_copies_that_cancel_are_reported(small_store, tmp_path):
    """Their sum, ``flip: add``, is zero."""
    embeddings = np.ones((4, 2, 3), np.float32)
    embeddings[2, 1] = -1
    with np.errstate(all="ignore"):
        evaluate_kept(small_store, tmp_path, embeddings, "student on x: 1 of 2 scores")


def test_faces_without_a_detectors_score_cannot_be_weighed(tmp_path):
    faces = [face._replace(score=float("nan")) for face in make_faces(2, 2)]
    store.write(tmp_path / "pack.arrow", faces, {"origin": "synthetic"})
    embeddings = np.ones((4, 2, 3), np.float32)
    message = r"pack\.arrow: 4 faces have no score .*detector_score"
    evaluate_kept(tmp_path / "pack.arrow", tmp_path, embeddings, message, templates=4)


def evaluate_kept(faces, folder, embeddings, message, templates=0):
    pairs = pd.DataFrame({"a": [0, 2], "b": [1, 3], "same": [True, False], "fold": 0})
    write_table(folder / "pairs.parquet", pairs)
    members = pd.DataFrame({name: range(templates) for name in ("row", "template", "media")}, dtype=int)
    write_table(folder / "templates.parquet", members)
    KeptEmbeddings(np.arange(4), embeddings).write(folder / "kept.safetensors")
    files = BenchmarkFiles(
        str(faces),
        str(folder / "pairs.parquet"),
        str(folder / "templates.parquet"),
        str(folder / "kept.safetensors"),
    )
    settings = EvaluationSettings("add", {"x": [0.5]}, {"x": TemplateSettings(True, False)})
    output = ResultFiles(str(folder / "metrics.json"), str(folder / "scores.parquet"))
    with pytest.raises(ValueError, match=message):
        evaluate_model("student", {"x": files}, settings, output)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"a": 1.0, "auc": float("nan")}, "auc is nan"),
        ({"x": {"thresholds": [0.5, float("inf")]}}, r"thresholds\[1\] is inf"),
        ({"score": np.float64("-inf")}, "score is -inf"),
    ],
)
def test_json_has_no_nan(tmp_path, content, where):
    with pytest.raises(ValueError, match=rf"m\.json is not written.*: {where}"):
        write_json(tmp_path / "m.json", content)
    assert not list(tmp_path.iterdir())
    write_json(tmp_path / "m.json", json.loads('{"auc": null}'))
    assert read_json(tmp_path / "m.json") == {"auc": None}
