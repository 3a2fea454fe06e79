"""Weights that a training leaves, and teachers' embeddings that it reads, are finite, or it stops and says why."""

import numpy as np
import pytest
import torch
from runs import NETWORK, distill, run, sibling_folder
from safetensors.torch import save_file

from triplet_distillation import row_files
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.networks import weights
from triplet_distillation.settings import CalibrationSettings
from triplet_distillation.tabular import read_table
from triplet_distillation.training import batches, engine, guards, loss_files
from triplet_distillation.training.calibration import write_calibration
from triplet_distillation.training.loss_files import write_class_means


def spoil(monkeypatch, step, name, number=float("nan")):
    """Set one value of the network to ``number`` after a step, as an update that overflows does."""
    original = engine.train_step

    def spoiled(state, context, batch, current):
        record = original(state, context, batch, current)
        if current == step:
            with torch.no_grad():
                state.network.state_dict()[name][:1] = number
        return record

    monkeypatch.setattr(engine, "train_step", spoiled)


WEIGHT, BUFFER = "layers.0.0.weight", "layers.0.1.running_var"


@pytest.mark.parametrize(("name", "number"), [(WEIGHT, float("nan")), (BUFFER, float("nan")), (BUFFER, float("inf"))])
def test_last_step_leaves_finite_weights(folder, small_store, monkeypatch, name, number):
    spoil(monkeypatch, 5, name, number)
    kind = "NaN" if number != number else "infinity"
    message = rf"the network after step 5, learning rate .*{name}, contains {kind}: lower learning_rate"
    with pytest.raises(guards.TrainingError, match=message):
        run(folder, small_store)
    assert not (folder / "weights.safetensors").exists()
    assert sorted(path.name for path in (folder / "checkpoint").glob("*.pt")) == ["step00000002.pt", "step00000004.pt"]


def test_update_that_overflows_is_no_result(folder, small_store):
    with pytest.raises(guards.TrainingError, match="lower learning_rate"):
        run(folder, small_store, training={"learning_rate": 1e38, "iterations": 1, "warmup": 0})
    assert not (folder / "weights.safetensors").exists()


def test_loss_of_the_last_step_is_finite(folder, small_store, monkeypatch):
    original = engine.train_step

    def spoiled(state, context, batch, step):
        record = original(state, context, batch, step)
        with torch.no_grad():
            next(state.criterion.parameters()).view(-1)[0] = float("inf")
        return record

    monkeypatch.setattr(engine, "train_step", spoiled)
    with pytest.raises(guards.TrainingError, match=r"ArcFaceLoss after step 0, .* contains infinity"):
        run(folder, small_store, training={"iterations": 1})


def test_weights_are_checked_without_checkpoints(folder, small_store, monkeypatch):
    """A buffer that is only read in evaluation shows in no loss."""
    spoil(monkeypatch, 2, BUFFER, float("inf"))
    with pytest.raises(guards.TrainingError, match=r"after step 19"):
        run(folder, small_store, training={"iterations": 30, "checkpoint_every": 1000})


def test_no_snapshot_is_taken_of_weights_that_are_not_finite(folder, small_store, monkeypatch):
    spoil(monkeypatch, 2, BUFFER)
    with pytest.raises(guards.TrainingError, match="after step 2"):
        run(folder, small_store, training={"checkpoint_every": 1000}, snapshots=[str(folder / "half.safetensors")])
    assert not list((folder / "checkpoint").glob("*.safetensors"))


def test_checkpoint_that_is_not_finite_is_not_resumed(folder, small_store, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(guards, "check_weights", lambda *_: None)
        spoil(patched, 5, BUFFER)
        run(folder, small_store)
    with pytest.raises(guards.TrainingError, match=r"after step 5, .*running_var, contains NaN"):
        run(folder, small_store)


def test_distillation_from_weights_that_are_not_finite_is_refused(folder, small_store):
    network = weights.create(NETWORK)
    network.state_dict()[BUFFER][0] = float("nan")
    weights.save(folder / "student.safetensors", network, NETWORK, {"name": "student"})
    with pytest.raises(ValueError, match=rf"student \(.*student\.safetensors\): .*{BUFFER}, contains NaN"):
        distill(sibling_folder(folder, "distilled"), small_store, folder / "student.safetensors")


@pytest.fixture
def files(folder, small_store):
    """A trained student, with the training set; its folder."""
    run(folder, small_store)
    return folder


@pytest.mark.parametrize(("row", "view", "number"), [(7, 0, float("nan")), (7, 0, 0.0), (7, 1, float("inf"))])
def test_teachers_that_are_not_finite_are_named(files, small_store, tmp_path, monkeypatch, row, view, number):
    """In calibration, in the means of classes, and in a step of a distillation."""
    training_set, path = tmp_path / "training_set.parquet", tmp_path / "teacher.npy"
    embeddings = np.random.default_rng(0).normal(size=(len(FaceStore(small_store)), 2, 4)).astype(np.float32)
    embeddings[row, view] = number
    np.save(path, embeddings)
    flipped = "the flipped copy of " if view else ""
    problem = rf"teacher\.npy: the embedding of {flipped}face {row} .*delete the file and run again"
    with pytest.raises(ValueError, match=problem):
        write_class_means(str(training_set), str(path), str(tmp_path / "means.safetensors"))
    if not view:
        settings = CalibrationSettings(1000, "measured", [0.0, 1.0])
        outputs = (str(tmp_path / "m.json"), str(tmp_path / "t.csv"))
        with pytest.raises(ValueError, match=problem):
            write_calibration(str(training_set), str(path), settings, "squared_euclidean", 0, outputs)
        assert row in read_table(training_set).row.to_numpy()
    monkeypatch.setattr(batches, "RowFile", lambda found: row_files.RowFile(path))
    with pytest.raises(guards.TrainingError, match=r"a teacher's embedding .*delete .*embeddings\.npy"):
        distill(sibling_folder(files, "distilled"), small_store, files / "weights.safetensors")


def test_class_centers_that_are_not_finite_are_refused(tmp_path):
    centers = torch.ones(3, 4)
    centers[1, 2] = float("nan")
    save_file({loss_files.CLASS_CENTERS: centers}, tmp_path / "loss.safetensors")
    with pytest.raises(guards.TrainingError, match=r"loss\.safetensors: .*class_centers, contains NaN"):
        loss_files._centers(str(tmp_path / "loss.safetensors"), 3)
