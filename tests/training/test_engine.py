"""The training loop on small synthetic faces: it learns, is reproducible to the bit, and resumes where it stopped."""

import errno
import logging
import os
import pickle
import shutil
import signal
import struct
import threading

import numpy as np
import pytest
import torch
from runs import GENTLE, NETWORK, TRAINING, distill, make_teacher, run, sibling_folder, stop_after
from tensorboardX.proto.event_pb2 import Event

from triplet_distillation.faces.store import FaceStore
from triplet_distillation.networks import weights
from triplet_distillation.settings import TrainingSettings
from triplet_distillation.training import checkpoint, engine, guards, sampling, schedule
from triplet_distillation.training.batches import BatchDataset, TrainingFaces, augment


def training_settings(**changes):
    return TrainingSettings.from_dict(TRAINING | changes)


def test_loss_decreases(folder, small_store):
    _, history = run(folder, small_store, training={"iterations": 25, "augmentation": TRAINING["augmentation"]})
    assert history.loss.iloc[-5:].mean() < 0.5 * history.loss.iloc[:3].mean()


def test_same_seed_gives_identical_bytes_and_another_seed_does_not(folder, small_store):
    first, _ = run(folder, small_store)
    again, _ = run(sibling_folder(folder, "again"), small_store)
    different, _ = run(sibling_folder(folder, "different"), small_store, seed=1)
    assert first == again
    assert first != different


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_killed_training_resumes_to_identical_bytes(folder, small_store, monkeypatch, steps):
    uninterrupted, history = run(folder, small_store)
    interrupted = sibling_folder(folder, "interrupted")
    with monkeypatch.context() as patched:
        stop_after(patched, steps)
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, small_store)
    resumed, resumed_history = run(interrupted, small_store)
    assert resumed == uninterrupted
    assert resumed_history.equals(history)


def test_rerunning_a_finished_training_takes_no_steps(folder, small_store, monkeypatch):
    first, _ = run(folder, small_store)
    stop_after(monkeypatch, 0)
    assert run(folder, small_store)[0] == first


def test_stale_checkpoint_is_set_aside_with_a_warning(folder, small_store, caplog):
    run(folder, small_store)
    with caplog.at_level(logging.WARNING):
        changed, _ = run(folder, small_store, training={"learning_rate": 0.01})
    assert "other settings, data or code" in caplog.text
    assert changed == run(sibling_folder(folder, "fresh"), small_store, training={"learning_rate": 0.01})[0]


def test_loading_a_checkpoint_executes_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"digest": "d", "state": Evil()}, tmp_path / "step00000001.pt")
    assert checkpoint.load(tmp_path, "d") is None
    assert not (tmp_path / "ran").exists()


def test_newest_checkpoints_are_kept_and_a_damaged_one_falls_back_to_the_previous(folder, small_store, caplog):
    uninterrupted, _ = run(folder, small_store)
    kept = sorted((folder / "checkpoint").glob("*.pt"))
    assert [path.name for path in kept] == ["step00000004.pt", "step00000006.pt"]
    kept[1].write_bytes(kept[1].read_bytes()[:1000])
    with caplog.at_level(logging.INFO):
        assert run(folder, small_store)[0] == uninterrupted
    assert "cannot be read" in caplog.text
    assert "resuming from step 4 of 6" in caplog.text


@pytest.mark.parametrize(
    "content", [{"state": {}}, {"digest": "d"}, {"digest": "d", "state": [1]}, torch.zeros(3), [1, 2], None, "text"]
)
def test_readable_file_that_is_no_checkpoint_is_set_aside(tmp_path, content, caplog):
    checkpoint.save(tmp_path, "d", 1, {"step": 1})
    torch.save(content, tmp_path / "step00000002.pt")
    assert checkpoint.load(tmp_path, "d") == {"step": 1}
    assert (tmp_path / "step00000002.pt.stale").is_file()


@pytest.mark.parametrize("kind", ["folder", "empty file", "text", "dangling link"])
def test_what_cannot_be_a_checkpoint_does_not_stop_a_training(tmp_path, kind):
    checkpoint.save(tmp_path, "d", 1, {"step": 1})
    path = tmp_path / "step00000002.pt"
    if kind == "folder":
        (path / "inside").mkdir(parents=True)
        (tmp_path / "step00000002.pt.stale").mkdir()  # from the last time
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_text("" if kind == "empty file" else "text")
    assert checkpoint.load(tmp_path, "d") == {"step": 1}
    checkpoint.save(tmp_path, "d", 2, {"step": 2})
    assert checkpoint.load(tmp_path, "d") == {"step": 2}


def test_resuming_under_another_version_of_a_library_says_so(tmp_path, caplog, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "library_versions", lambda: {"torch": "1.13", "numpy": "2.0"})
        checkpoint.save(tmp_path, "d", 1, {"step": 1})
        assert checkpoint.load(tmp_path, "d") == {"step": 1}
    monkeypatch.setattr(checkpoint, "library_versions", lambda: {"torch": "2.13", "numpy": "2.0"})
    assert not caplog.records
    with caplog.at_level(logging.INFO):
        assert checkpoint.load(tmp_path, "d") == {"step": 1}
    (record,) = caplog.records
    assert "torch 1.13, now 2.13" in record.message
    assert "numpy" not in record.message


def test_sigterm_completes_the_step_and_writes_a_checkpoint(folder, small_store, monkeypatch):
    uninterrupted, history = run(folder, small_store)
    interrupted = sibling_folder(folder, "interrupted")
    original = engine.train_step

    def step(state, context, batch, number):
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(state, context, batch, number)

    settings = {"checkpoint_every": 100}
    with monkeypatch.context() as patched:
        patched.setattr(engine, "train_step", step)
        with pytest.raises(engine.Preempted, match="after 3 of 6 steps"):
            run(interrupted, small_store, training=settings)
    assert [path.name for path in (interrupted / "checkpoint").glob("*.pt")] == ["step00000003.pt"]
    resumed, resumed_history = run(interrupted, small_store, training=settings)
    assert resumed == uninterrupted
    assert resumed_history.equals(history)


@pytest.mark.parametrize("every", [4, 20])
def test_losses_that_are_read_every_few_steps_are_those_of_every_step(folder, small_store, monkeypatch, every):
    """As on a GPU, which is not waited for in every step; the last steps are read, too."""
    expected, history = run(folder, small_store)
    monkeypatch.setitem(engine.READ_EVERY, "cpu", every)
    weights, seldom = run(sibling_folder(folder, "seldom"), small_store, training={"checkpoint_every": 100})
    assert weights == expected
    assert seldom.equals(history)


def test_loss_that_is_not_finite_is_found_when_it_is_read_and_its_step_is_named(folder, small_store, monkeypatch):
    monkeypatch.setitem(engine.READ_EVERY, "cpu", 4)
    original, steps = engine.train_step, []

    def train_step(state, context, batch, step):
        steps.append(step)
        record = original(state, context, batch, step)
        return record | {"loss": torch.tensor(float("nan"))} if step == 1 else record

    monkeypatch.setattr(engine, "train_step", train_step)
    with pytest.raises(guards.TrainingError, match="the loss is nan at step 1"):
        run(folder, small_store, training={"iterations": 12, "checkpoint_every": 12})
    assert steps == [0, 1, 2, 3]


def test_no_step_reads_the_device_except_where_losses_are_read(folder, small_store, monkeypatch):
    """A number read from a GPU would wait for it: between the reads, records are tensors that nobody has looked at."""
    monkeypatch.setitem(engine.READ_EVERY, "cpu", 3)
    original, reads = engine.read_records, []

    def read_records(records):
        reads.append([isinstance(record["loss"], torch.Tensor) for record in records])
        return original(records)

    monkeypatch.setattr(engine, "read_records", read_records)
    run(folder, small_store, training={"checkpoint_every": 100})
    assert reads == [[True] * 3] * 2


def test_training_goes_on_while_a_checkpoint_is_written(folder, small_store, monkeypatch):
    """The checkpoint of step 2 is only written once step 3 has begun, and has the state of step 2 nevertheless."""
    steps, began, original_save, original_step = [], threading.Event(), torch.save, engine.train_step

    def train_step(state, context, batch, step):
        steps.append(step)
        if step == 2:
            began.set()
        return original_step(state, context, batch, step)

    def save(content, path):
        assert began.wait(60)
        original_save(content, path)

    expected, _ = run(sibling_folder(folder, "expected"), small_store, training={"checkpoint_every": 2})
    monkeypatch.setattr(engine, "train_step", train_step)
    monkeypatch.setattr(checkpoint.torch, "save", save)
    weights, _ = run(folder, small_store, training={"checkpoint_every": 2})
    assert weights == expected
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "KEEP_LAST", 5)
        stopped = sibling_folder(folder, "stopped")
        began.clear()
        stop_after(patched, 4)
        with pytest.raises(KeyboardInterrupt):
            run(stopped, small_store, training={"checkpoint_every": 2})
    resumed, _ = run(stopped, small_store, training={"checkpoint_every": 2})
    assert resumed == expected


def test_checkpoint_that_cannot_be_written_stops_the_training(folder, small_store, monkeypatch):
    def save(content, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", save)
    with pytest.raises(OSError, match="No space left"):
        run(folder, small_store)
    assert not list((folder / "checkpoint").glob(".step*"))


def test_loader_with_the_data_set_is_small_and_opens_its_files_itself(folder, small_store):
    """A worker that does not begin as a copy of this process gets the data set pickled."""
    teacher = make_teacher(folder, small_store, small_store)
    faces = TrainingFaces(str(small_store), np.arange(10), np.arange(10) // 2, (teacher["embeddings"],))
    settings = training_settings()
    sampler = sampling.create_sampler(settings.sampling, faces.labels, 0)
    content = pickle.dumps(BatchDataset(faces, sampler, settings, 0))
    assert len(content) < 3000
    assert torch.equal(pickle.loads(content)[0].images, BatchDataset(faces, sampler, settings, 0)[0].images)


def test_tensorboard_has_every_step_once(folder, small_store, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(folder, small_store)
    _, history = run(folder, small_store)
    seen = {}
    for event in read_events(folder / "checkpoint" / "tensorboard"):
        if event.HasField("session_log"):  # a reader drops earlier events from this step on
            seen = {key: value for key, value in seen.items() if key[1] < event.step}
        seen |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    for name in ("loss", "learning_rate", "accuracy"):
        assert [seen[name, step] for step in range(6)] == pytest.approx(history[name].tolist())


def read_events(folder):
    """The events in the folder's files. A record is a length, a checksum, the content and a checksum."""
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def test_gradients_are_clipped(folder, small_store):
    """With a gradient norm of at most 10⁻⁶, a step moves the weights by at most the learning rate times that."""
    unclipped, _ = run(folder, small_store, training={"iterations": 1, "weight_decay": 0})
    clipped = sibling_folder(folder, "clipped")
    run(clipped, small_store, training={"iterations": 1, "weight_decay": 0, "clip_norm": 1e-6})
    torch.manual_seed(0)
    start = weights.create(NETWORK)
    moved, _ = weights.load(clipped / "weights.safetensors")
    change = [(a - b).square().sum() for a, b in zip(start.parameters(), moved.parameters())]
    assert 0 < sum(change).sqrt() <= 0.05 * 1e-6 * 1.01
    assert unclipped != (clipped / "weights.safetensors").read_bytes()


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.02)])
def test_mixed_precision_is_close_to_full_precision(folder, small_store, precision, tolerance):
    _, full = run(folder, small_store)
    _, mixed = run(sibling_folder(folder, precision), small_store, execution={"precision": precision})
    assert mixed.loss.iloc[0] == pytest.approx(full.loss.iloc[0], rel=tolerance)
    assert not np.array_equal(mixed.loss, full.loss)
    saved, _ = weights.load(folder.parent / precision / "weights.safetensors")
    assert {parameter.dtype for parameter in saved.parameters()} == {torch.float32}


def test_mixed_precision_resumes_to_identical_bytes(folder, small_store, monkeypatch):
    uninterrupted, _ = run(folder, small_store, execution={"precision": "fp16"})
    interrupted = sibling_folder(folder, "interrupted")
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, small_store, execution={"precision": "fp16"})
    assert run(interrupted, small_store, execution={"precision": "fp16"})[0] == uninterrupted


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="compiling needs a C++ compiler")
def test_compiled_training_has_the_same_losses(folder, small_store):
    _, plain = run(folder, small_store, training=GENTLE)
    _, compiled = run(sibling_folder(folder, "compiled"), small_store, training=GENTLE, execution={"compile": True})
    assert compiled.loss.to_numpy() == pytest.approx(plain.loss.to_numpy(), rel=1e-4)


def test_missing_compiler_is_reported(folder, small_store, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(guards.TrainingError, match="needs a C"):
        run(folder, small_store, execution={"compile": True})


def test_reference_batch_scales_the_learning_rate_with_the_batch_size(folder, small_store):
    _, history = run(folder, small_store, training={"warmup": 0, "reference_batch": 40, "iterations": 1})
    assert history.learning_rate[0] == pytest.approx(0.05 * 10 / 40)


def test_distillation_starts_from_the_student_and_uses_the_calibrated_margins(folder, small_store):
    run(folder, small_store)
    _, history = distill(sibling_folder(folder, "distilled"), small_store, student=folder / "weights.safetensors")
    assert history.margin.between(0.2, 0.5).all()
    assert {"active", "margin", "loss", "learning_rate", "mean_cosine"} <= set(history)
    still = sibling_folder(folder, "still")
    distill(still, small_store, student=folder / "weights.safetensors", training={"learning_rate": 1e-12})
    student, distilled = (weights.load(each / "weights.safetensors")[0] for each in (folder, still))
    for before, after in zip(student.parameters(), distilled.parameters()):
        assert torch.allclose(before, after, atol=1e-6)


def test_batch_matches_images_labels_and_teacher_embeddings(small_store, tmp_path):
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
    faces = TrainingFaces(small_store, rows, labels, (tmp_path / "teacher.npy",))
    batches = BatchDataset(faces, sampler, settings, 0)
    store = FaceStore(small_store)
    for step in range(3):
        batch = batches[step]
        positions = sampler.batch(step)
        flipped = sampling.draw_augmentation(settings.augmentation, 12, 0, step).flipped
        assert batch.labels.tolist() == labels[positions].tolist()
        assert batch.teachers[0][:, 0].tolist() == [teacher[rows[p], int(f), 0] for p, f in zip(positions, flipped)]
        for image, position, flip in zip(batch.images, positions, flipped):
            original = store.image(rows[position])
            expected = original[:, ::-1] if flip else original
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_shift_moves_pixels_and_repeats_the_edge():
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    shifted = augment(image, False, np.array([3, -2]), 1.0, 0.0)
    assert np.array_equal(shifted[2:, : 112 - 3], image[: 112 - 2, 3:])
    assert np.array_equal(shifted[0, :109], image[0, 3:])


def test_weight_decay_applies_only_to_weights():
    network = weights.create(NETWORK)
    decayed, not_decayed = engine.parameter_groups(network, torch.nn.Linear(3, 4), 5e-4)
    assert decayed["weight_decay"] == 5e-4
    assert not_decayed["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(not_decayed["params"]) == len(list(network.parameters())) + 2


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (29999, 0.1), (30000, 0.01), (69999, 0.01), (70000, 0.001), (99999, 0.001)]
)
def test_step_schedule_of_the_paper(step, rate):
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
