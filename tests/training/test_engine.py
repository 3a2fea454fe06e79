"""The loop on small made-up faces: it learns, it repeats itself to the bit, it goes on where it stopped."""

import logging
import os
import shutil
import signal
import struct

import numpy as np
import pytest
import torch
from runs import GENTLE, NETWORK, TRAINING, distill, other, run, stop_after
from tensorboardX.proto.event_pb2 import Event

from triplet_distillation.faces.store import FaceStore
from triplet_distillation.networks import weights
from triplet_distillation.settings import TrainingSettings
from triplet_distillation.training import checkpoint, engine, guards, schedule
from triplet_distillation.training.batches import augment


def training_settings(**changes):
    return TrainingSettings.from_dict(TRAINING | changes)


def test_the_loss_falls(folder, small_store):
    _, history = run(folder, small_store, training={"iterations": 25, "augmentation": TRAINING["augmentation"]})
    assert history.loss.iloc[-5:].mean() < 0.5 * history.loss.iloc[:3].mean()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder, small_store):
    first, _ = run(folder, small_store)
    again, _ = run(other(folder, "again"), small_store)
    different, _ = run(other(folder, "different"), small_store, seed=1)
    assert first == again
    assert first != different


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

    torch.save({"digest": "d", "state": Evil()}, tmp_path / "step00000001.pt")
    assert checkpoint.load(tmp_path, "d") is None
    assert not (tmp_path / "ran").exists()


def test_only_the_newest_checkpoints_stay_and_a_spoilt_one_has_one_before_it(folder, small_store, caplog):
    undisturbed, _ = run(folder, small_store)
    kept = sorted((folder / "checkpoint").glob("*.pt"))
    assert [path.name for path in kept] == ["step00000004.pt", "step00000006.pt"]
    kept[1].write_bytes(kept[1].read_bytes()[:1000])
    with caplog.at_level(logging.INFO):
        assert run(folder, small_store)[0] == undisturbed
    assert "cannot be read" in caplog.text
    assert "resuming from step 4 of 6" in caplog.text


def test_sigterm_writes_a_checkpoint_of_the_step_that_it_fell_into(folder, small_store, monkeypatch):
    undisturbed, history = run(folder, small_store)
    interrupted = other(folder, "interrupted")
    real = engine.train_step

    def step(state, context, batch, number):
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(state, context, batch, number)

    settings = {"checkpoint_every": 100}
    with monkeypatch.context() as patched:
        patched.setattr(engine, "train_step", step)
        with pytest.raises(engine.Preempted, match="after step 2 of 6"):
            run(interrupted, small_store, training=settings)
    assert [path.name for path in (interrupted / "checkpoint").glob("*.pt")] == ["step00000003.pt"]
    resumed, resumed_history = run(interrupted, small_store, training=settings)
    assert resumed == undisturbed
    assert resumed_history.equals(history)


def test_tensorboard_sees_every_step_once(folder, small_store, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(folder, small_store)
    _, history = run(folder, small_store)
    seen = {}
    for event in events(folder / "checkpoint" / "tensorboard"):
        if event.HasField("session_log"):  # a reader drops what an earlier file has from this step on
            seen = {key: value for key, value in seen.items() if key[1] < event.step}
        seen |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    for name in ("loss", "learning_rate", "accuracy"):
        assert [seen[name, step] for step in range(6)] == pytest.approx(history[name].tolist())


def events(folder):
    """What the folder's event files hold: records of length, checksum, content, checksum."""
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def test_gradients_are_clipped(folder, small_store):
    """A step along a gradient of norm 10⁻⁶ at most moves the weights by its learning rate times that."""
    free, _ = run(folder, small_store, training={"iterations": 1, "weight_decay": 0})
    clipped = other(folder, "clipped")
    run(clipped, small_store, training={"iterations": 1, "weight_decay": 0, "clip_norm": 1e-6})
    torch.manual_seed(0)
    start = weights.create(NETWORK)
    moved, _ = weights.load(clipped / "weights.safetensors")
    change = [(a - b).square().sum() for a, b in zip(start.parameters(), moved.parameters())]
    assert 0 < sum(change).sqrt() <= 0.05 * 1e-6 * 1.01
    assert free != (clipped / "weights.safetensors").read_bytes()


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.02)])
def test_mixed_precision_is_close(folder, small_store, precision, tolerance):
    _, exact = run(folder, small_store)
    _, mixed = run(other(folder, precision), small_store, execution={"precision": precision})
    assert mixed.loss.iloc[0] == pytest.approx(exact.loss.iloc[0], rel=tolerance)
    assert not np.array_equal(mixed.loss, exact.loss)
    saved, _ = weights.load(folder.parent / precision / "weights.safetensors")
    assert {parameter.dtype for parameter in saved.parameters()} == {torch.float32}


def test_mixed_precision_resumes_to_the_same_bytes(folder, small_store, monkeypatch):
    undisturbed, _ = run(folder, small_store, execution={"precision": "fp16"})
    interrupted = other(folder, "interrupted")
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, small_store, execution={"precision": "fp16"})
    assert run(interrupted, small_store, execution={"precision": "fp16"})[0] == undisturbed


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="compiling needs a C++ compiler")
def test_a_compiled_training_has_the_same_losses(folder, small_store):
    _, plain = run(folder, small_store, training=GENTLE)
    _, compiled = run(other(folder, "compiled"), small_store, training=GENTLE, execution={"compile": True})
    assert compiled.loss.to_numpy() == pytest.approx(plain.loss.to_numpy(), rel=1e-4)


def test_compiling_without_a_compiler_says_what_to_do(folder, small_store, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(guards.TrainingError, match="needs a C"):
        run(folder, small_store, execution={"compile": True})


def test_the_learning_rate_follows_the_batch_size_where_it_is_told_to(folder, small_store):
    _, history = run(folder, small_store, training={"warmup": 0, "reference_batch": 40, "iterations": 1})
    assert history.learning_rate[0] == pytest.approx(0.05 * 10 / 40)


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


def test_distillation_starts_from_the_student_and_uses_the_calibrated_margins(folder, small_store):
    run(folder, small_store)
    _, history = distill(other(folder, "distilled"), small_store, student=folder / "weights.safetensors")
    assert history.margin.between(0.2, 0.5).all()
    assert {"active", "margin", "loss", "learning_rate", "mean_cosine"} <= set(history)


def test_a_batch_pairs_image_label_and_teacher(small_store, tmp_path):
    from triplet_distillation.training import sampling
    from triplet_distillation.training.batches import BatchDataset, TrainingFaces

    teacher = np.arange(30 * 2, dtype=np.float32).reshape(30, 2, 1)
    np.save(tmp_path / "teacher.npy", teacher)
    rows = np.arange(5, 30)
    labels = np.repeat(np.arange(5), 5)
    settings = training_settings(
        iterations=3,
        sampling={"kind": "uniform", "batch_size": 12},
        augmentation={"flip": True, "shift": 0, "contrast": 0, "brightness": 0},
    )
    sampler = sampling.create_sampler(settings.sampling, labels, 0)
    faces = TrainingFaces(small_store, rows, labels, tmp_path / "teacher.npy")
    batches = BatchDataset(faces, sampler, settings, 0)
    store = FaceStore(small_store)
    for step in range(3):
        batch = batches[step]
        positions = sampler.batch(step)
        flipped = sampling.draw_augmentation(settings.augmentation, 12, 0, step).flipped
        assert batch.labels.tolist() == labels[positions].tolist()
        assert batch.teacher[:, 0].tolist() == [teacher[rows[p], int(m), 0] for p, m in zip(positions, flipped)]
        for image, position, flip in zip(batch.images, positions, flipped):
            original = store.image(rows[position])
            expected = original[:, ::-1] if flip else original
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_a_shift_moves_pixels_and_repeats_the_edge():
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    shifted = augment(image, False, np.array([3, -2]), 1.0, 0.0)
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
    milestones = [30_000, 70_000]
    settings = training_settings(
        learning_rate=0.1, iterations=100_000, warmup=0, schedule="steps", milestones=milestones
    )
    assert schedule.learning_rate(step, settings) == pytest.approx(rate)


def test_cosine_with_warmup():
    settings = training_settings(learning_rate=0.1, iterations=110, warmup=10, schedule="cosine")
    rates = [schedule.learning_rate(step, settings) for step in range(110)]
    assert rates[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.1)
    assert rates[60] == pytest.approx(0.05)
    assert rates[109] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)
