"""The loop on small made-up faces: it learns, it repeats itself to the bit, it goes on where it stopped."""

import logging

import numpy as np
import pytest
import torch

from triplet_distillation.faces import pairs
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_table, write_json, write_table
from triplet_distillation.networks import weights
from triplet_distillation.training import checkpoint, engine, schedule
from triplet_distillation.training.batches import change
from triplet_distillation.training.run import train_model

NETWORK = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16}
TRAINING = {
    "iterations": 6,
    "learning_rate": 0.05,
    "schedule": "cosine",
    "milestones": [],
    "decay": 0.1,
    "warmup": 1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "clip_norm": 0,
    "sampling": {"kind": "uniform", "batch_size": 10},
    "augmentation": {"mirror": True, "shift": 2, "contrast": 0.1, "brightness": 5},
    "checkpoint_every": 2,
    "loader_workers": 0,
}


def run(folder, store, name="student", loss="arcface", loss_settings=None, training=None, code="1", seed=0, **inputs):
    """Train in ``folder``; gives (weights as bytes, history)."""
    faces = FaceStore(store)
    training_set = folder.parent / "training_set.parquet"
    if not training_set.exists():
        identities = faces.column("identity").astype(str)
        write_table(training_set, pairs.training_set(identities, np.ones(len(faces), bool), set(), 1))
    settings = {
        "network": NETWORK,
        "loss": loss,
        "loss_settings": loss_settings or {},
        "training": TRAINING | (training or {}),
        "execution": {"threads": 1, "device": "cpu"},
        "study": "test",
    }
    output, history = folder / "weights.safetensors", folder / "history.csv"
    train_model(name, str(store), str(training_set), settings, seed, code, str(output), str(history), **inputs)
    return output.read_bytes(), read_table(history)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "run"
    made.mkdir()
    return made


def other(folder, name):
    made = folder.parent / name
    made.mkdir()
    return made


def test_the_loss_falls(folder, small_store):
    _, history = run(folder, small_store, training={"iterations": 25, "augmentation": TRAINING["augmentation"]})
    assert history.loss.iloc[-5:].mean() < 0.5 * history.loss.iloc[:3].mean()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder, small_store):
    first, _ = run(folder, small_store)
    again, _ = run(other(folder, "again"), small_store)
    different, _ = run(other(folder, "different"), small_store, seed=1)
    assert first == again
    assert first != different


def stop_after(monkeypatch, steps):
    """Have the loop die, as if killed, when it begins its ``steps``-th step from now."""
    real, count = engine._step, iter(range(10**6))

    def step(*arguments):
        if next(count) == steps:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(engine, "_step", step)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_killed_training_ends_with_the_same_bytes(folder, small_store, monkeypatch, steps):
    undisturbed, history = run(folder, small_store)
    interrupted = other(folder, "interrupted")
    with monkeypatch.context() as patched:
        stop_after(patched, steps)
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, small_store)
    resumed, resumed_history = run(interrupted, small_store)
    assert resumed == undisturbed
    assert resumed_history.equals(history)


def test_a_finished_training_costs_no_step_when_forced_again(folder, small_store, monkeypatch):
    first, _ = run(folder, small_store)
    stop_after(monkeypatch, 0)
    assert run(folder, small_store)[0] == first


def test_a_checkpoint_of_other_settings_is_set_aside_loudly(folder, small_store, caplog):
    run(folder, small_store)
    with caplog.at_level(logging.WARNING):
        changed, _ = run(folder, small_store, training={"learning_rate": 0.01})
    assert "other settings, data or code" in caplog.text
    assert changed == run(other(folder, "fresh"), small_store, training={"learning_rate": 0.01})[0]


def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"digest": "d", "state": Evil()}, tmp_path / checkpoint.NAME)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        checkpoint.load(tmp_path, "d")
    assert not (tmp_path / "ran").exists()


def test_two_processes_never_hold_one_folder(tmp_path):
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    with checkpoint.locked(tmp_path):
        process = context.Process(target=_hold, args=(tmp_path, queue))
        process.start()
        assert queue.get(timeout=60) == "waiting"
        process.join(1)
        assert process.is_alive()
        assert queue.empty()
    assert queue.get(timeout=60) == "held"
    process.join()


def _hold(folder, queue):
    queue.put("waiting")
    with checkpoint.locked(folder):
        queue.put("held")


def test_a_loss_that_is_not_finite_stops_with_a_remedy(folder, small_store):
    with pytest.raises(engine.TrainingError, match="lower learning_rate"):
        run(folder, small_store, training={"learning_rate": 1e30, "iterations": 20, "warmup": 0})


def test_distillation_starts_from_the_student_and_reads_the_teachers_row_and_mirror_state(folder, small_store):
    run(folder, small_store)
    teacher = np.random.default_rng(0).normal(size=(30, 2, 4)).astype(np.float32)
    np.save(folder / "teacher.npy", teacher)
    write_json(folder / "margins.json", {"minimum_margin": 0.2, "maximum_margin": 0.5})
    _, history = run(
        other(folder, "distilled"),
        small_store,
        name="triplet_distillation",
        loss="triplet_distillation",
        training={"sampling": {"kind": "identities", "identities": 3, "images": 3}},
        initial=str(folder / "weights.safetensors"),
        teacher_embeddings=str(folder / "teacher.npy"),
        margins=str(folder / "margins.json"),
    )
    assert history.margin.between(0.2, 0.5).all()
    assert {"active", "margin", "loss", "learning_rate"} <= set(history)


def test_a_batch_pairs_image_label_and_teacher(small_store, tmp_path):
    from triplet_distillation.training import sampling
    from triplet_distillation.training.batches import Batches

    teacher = np.arange(30 * 2, dtype=np.float32).reshape(30, 2, 1)
    np.save(tmp_path / "teacher.npy", teacher)
    rows = np.arange(5, 30)
    labels = np.repeat(np.arange(5), 5)
    augmentation = {"mirror": True, "shift": 0, "contrast": 0, "brightness": 0}
    sampler = sampling.sampler({"kind": "uniform", "batch_size": 12}, labels, 0)
    batches = Batches(small_store, rows, labels, sampler, augmentation, 0, 3, tmp_path / "teacher.npy")
    store = FaceStore(small_store)
    for step in range(3):
        batch = batches[step]
        positions = sampler.batch(step)
        mirrored = sampling.augmentation(augmentation, 12, 0, step).mirrored
        assert batch.labels.tolist() == labels[positions].tolist()
        assert batch.teacher[:, 0].tolist() == [teacher[rows[p], int(m), 0] for p, m in zip(positions, mirrored)]
        for image, position, flip in zip(batch.images, positions, mirrored):
            original = store.image(rows[position])
            expected = original[:, ::-1] if flip else original
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_a_shift_moves_pixels_and_repeats_the_edge():
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    shifted = change(image, False, np.array([3, -2]), 1.0, 0.0)
    assert np.array_equal(shifted[2:, : 112 - 3], image[: 112 - 2, 3:])
    assert np.array_equal(shifted[0, :109], image[0, 3:])


def test_weight_decay_is_on_weights_alone():
    network = weights.create(NETWORK)
    decayed, free = engine.parameter_groups(network, torch.nn.Linear(3, 4), 5e-4)
    assert decayed["weight_decay"] == 5e-4
    assert free["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(list(network.parameters())) + 2


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (29999, 0.1), (30000, 0.01), (69999, 0.01), (70000, 0.001), (99999, 0.001)]
)
def test_the_papers_schedule(step, rate):
    settings = {
        "learning_rate": 0.1,
        "iterations": 100_000,
        "warmup": 0,
        "schedule": "steps",
        "milestones": [30_000, 70_000],
        "decay": 0.1,
    }
    assert schedule.learning_rate(step, settings) == pytest.approx(rate)


def test_cosine_with_warmup():
    settings = {"learning_rate": 0.1, "iterations": 110, "warmup": 10, "schedule": "cosine"}
    rates = [schedule.learning_rate(step, settings) for step in range(110)]
    assert rates[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.1)
    assert rates[60] == pytest.approx(0.05)
    assert rates[109] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)
