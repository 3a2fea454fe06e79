"""Each guard is triggered."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import NETWORK, TRAINING, distill, make_teacher, run, sibling_folder
from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore

from triplet_distillation import registry
from triplet_distillation.files import read_json, write_json
from triplet_distillation.losses import LossContext
from triplet_distillation.networks import weights
from triplet_distillation.settings import ExecutionSettings
from triplet_distillation.tabular import read_table, write_table
from triplet_distillation.training import engine, guards
from triplet_distillation.training.batches import Batch


def make_history(steps, **columns):
    defaults = {"loss": 1.0, "learning_rate": 0.1, "mean_cosine": 0.1}
    return [
        {
            "step": step,
            **{name: value(step) if callable(value) else value for name, value in (defaults | columns).items()},
        }
        for step in range(steps)
    ]


def test_non_finite_loss_stops_the_training_with_a_remedy(folder, small_store):
    with pytest.raises(guards.TrainingError, match="lower learning_rate"):
        run(folder, small_store, training={"learning_rate": 1e30, "iterations": 20, "warmup": 0})


def test_collapsed_embeddings_stop_a_triplet_loss_stuck_at_its_margin(folder, small_store):
    """A network whose last layer has zero weights gives every face the same embedding."""
    network = weights.create(NETWORK)
    with torch.no_grad():
        network.layers[-2][1].weight.zero_()
        network.layers[-2][1].bias.fill_(1.0)
    weights.save(folder / "collapsed.safetensors", network, NETWORK, {})
    with pytest.raises(guards.TrainingError, match=r"collapsed.*stuck at 0\.2"):
        run(
            folder,
            small_store,
            loss="triplet",
            loss_settings={"margin": 0.2},
            initial=str(folder / "collapsed.safetensors"),
            training={"sampling": {"kind": "pk", "p": 3, "k": 3}, "iterations": 30},
        )


def test_persistently_rising_loss_stops_the_training():
    guards.check_history(make_history(60, loss=lambda step: 30 + step % 7))
    with pytest.raises(guards.TrainingError, match=r"risen from 1\.000 to .*reference_batch"):
        guards.check_history(make_history(60, loss=lambda step: 1.0 if step < 30 else 9.0))


def test_single_loss_spike_does_not_stop_the_training():
    guards.check_history(make_history(60, loss=lambda step: 30.0 if step == 59 else 1.0))


def test_missing_active_triplets_are_logged(caplog):
    with caplog.at_level(logging.WARNING):
        guards.check_history(make_history(40, active=0.0, loss=0.0))
    assert "nothing is left to learn" in caplog.text


def test_insufficient_memory_stops_before_the_first_step(folder, small_store, monkeypatch):
    monkeypatch.setattr(guards, "free_memory", lambda device: 10 * 2**20)
    with pytest.raises(guards.TrainingError, match=r"a batch of 10 images needs about .* GiB"):
        run(folder, small_store)
    assert not list((folder / "checkpoint").glob("*.pt"))


def test_memory_of_all_processes_of_a_machine_is_counted(folder, small_store, monkeypatch):
    """They share it: what is enough for one is not enough for three."""
    network = weights.create(NETWORK)
    criterion = registry.load("losses", "arcface")(LossContext(num_identities=4, embedding_size=16))
    batch = Batch(torch.zeros(6, 3, 112, 112, dtype=torch.uint8), torch.arange(6) % 4)
    needed = guards.estimated_memory(network, criterion, batch)
    monkeypatch.setattr(guards, "free_memory", lambda device: 2 * needed)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    guards.check_memory(network, criterion, batch, guards.Machine(cpu, 2), torch.float32)
    three = guards.Machine.of(ExecutionSettings(processes=3), cpu)
    with pytest.raises(guards.TrainingError, match=r"in 3 processes together.*train in fewer processes"):
        guards.check_memory(network, criterion, batch, three, torch.float32)
    assert guards.Machine.of(ExecutionSettings(processes=3), gpu).processes == 1


def test_memory_is_estimated_before_layers_that_need_a_gpu_are_put_in(folder, small_store, monkeypatch):
    """PyTorch's SyncBatchNorm refuses CPUs, so that here the first step fails; the estimate must not."""
    estimated = []
    original = guards.check_memory
    monkeypatch.setattr(guards, "check_memory", lambda *arguments: estimated.append(original(*arguments)))
    monkeypatch.setattr(
        engine.distributed,
        "convert_sync_batchnorm",
        lambda network, device, dist: nn.SyncBatchNorm.convert_sync_batchnorm(network),
    )
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        with pytest.raises(ValueError, match="SyncBatchNorm expected input tensor to be on"):
            run(folder, small_store)
    finally:
        torch.distributed.destroy_process_group()
    assert len(estimated) == 1


def test_memory_estimate_matches_what_a_step_keeps():
    """Computed by hand: a convolution keeps its input, ArcFace its logits, and the weights count three times."""
    network = nn.Sequential(nn.Conv2d(3, 8, 112, bias=False), nn.Flatten())
    criterion = registry.load("losses", "arcface")(LossContext(num_identities=1000, embedding_size=8))
    batch = Batch(torch.zeros(64, 3, 112, 112, dtype=torch.uint8), torch.arange(64))
    estimate = guards.estimated_memory(network, criterion, batch)
    parameters = 4 * (8 * 3 * 112 * 112 + 8 * 1000)
    images, logits = 64 * 3 * 112 * 112 * 4, 64 * 1000 * 4
    assert (
        3 * parameters + images + logits < estimate < 3 * parameters + guards.TRANSIENT["cpu"] * (images + 10 * logits)
    )


@pytest.mark.parametrize("images", [1, 2, 3])
def test_memory_of_a_few_images_is_extrapolated_from_the_same_two_measurements(images):
    """Linear in the images of one process, also below the two and four that are measured."""
    network = weights.create(NETWORK)
    criterion = registry.load("losses", "arcface")(LossContext(num_identities=4, embedding_size=16))

    def estimate(count):
        images = torch.zeros(count, 3, 112, 112, dtype=torch.uint8)
        return guards.estimated_memory(network, criterion, Batch(images, torch.arange(8) % 4))

    per_image = (estimate(8) - estimate(4)) / 4
    assert per_image > 2**20
    assert estimate(images) == pytest.approx(estimate(4) - (4 - images) * per_image, abs=10)


def test_control_group_limits_are_respected(tmp_path, monkeypatch):
    job = tmp_path / "job"
    step = job / "step"
    step.mkdir(parents=True)
    monkeypatch.setattr(guards, "_cgroups", lambda: [step, job, tmp_path])
    unlimited = guards.free_memory(torch.device("cpu"))
    for group, limit in ((step, "max"), (job, "5000")):
        (group / "memory.current").write_text("1000\n")
        (group / "memory.max").write_text(f"{limit}\n")
    assert guards.free_memory(torch.device("cpu")) == 4000
    (job / "memory.max").write_text("max\n")
    assert guards.free_memory(torch.device("cpu")) == pytest.approx(unlimited, rel=0.2)


def test_cgroups_of_this_process_end_at_the_root():
    groups = guards._cgroups()
    assert not groups or groups[-1] == guards.CGROUPS


def test_label_without_images_is_named(folder, small_store):
    run(folder, small_store)
    path = folder.parent / "training_set.parquet"
    table = read_table(path)
    write_table(path, table[table.label != 2])
    with pytest.raises(guards.TrainingError, match=r"1 labels have no image \(the first is 2\)"):
        run(folder, small_store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"store": {"origin": "other"}}, "come from another data set"),
        ({"shape": [7, 2, 4]}, "come from another data set"),
        ({"teacher": {"weights": "0" * 64}}, "come from another teacher"),
        ({"normalized": False}, "are not normalized"),
    ],
)
def test_mismatched_teacher_embeddings_are_rejected(folder, small_store, change, message, monkeypatch):
    run(folder, small_store)
    student = folder / "weights.safetensors"
    teacher = make_teacher(folder.parent, small_store, student)
    write_json(teacher["sidecar"], read_json(teacher["sidecar"]) | change)
    monkeypatch.setattr("runs.make_teacher", lambda *_: teacher)
    with pytest.raises(guards.TrainingError, match=message):
        distill(sibling_folder(folder, "second"), small_store, student)


def test_labels_must_be_complete():
    guards.check_labels(np.array([0, 1, 1, 2]), "t")
    with pytest.raises(guards.TrainingError, match="the first is 0"):
        guards.check_labels(np.array([1, 1, 2]), "t")


def test_history_shorter_than_the_patience_is_not_checked():
    guards.check_history(make_history(guards.PATIENCE - 1, mean_cosine=1.0))
    with pytest.raises(guards.TrainingError, match="collapsed"):
        guards.check_history(make_history(guards.PATIENCE, mean_cosine=1.0))


PEAK = """
import json, sys
from pathlib import Path
import torch
from triplet_distillation import registry
from triplet_distillation.losses import LossContext
from triplet_distillation.networks import weights
from triplet_distillation.settings import ExecutionSettings
from triplet_distillation.networks.execution import setup_device
from triplet_distillation.settings import ExecutionSettings, TrainingSettings
from triplet_distillation.training import engine, guards
from triplet_distillation.training.batches import Batch
from triplet_distillation.training.distributed import DistributedContext

network, training = json.loads(sys.argv[1])

def resident(kind):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))

device = setup_device(ExecutionSettings(threads=2))
network = weights.create(network)
criterion = registry.load("losses", "arcface")(LossContext(28, network.embedding_size))
settings = TrainingSettings.from_dict(training)
context = engine.TrainContext(settings, ExecutionSettings(), 0, device, DistributedContext(), Path("unused"), "")
state = engine.build_state(network, criterion, context)
images = torch.zeros(48, 112, 112, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
batch = Batch(images, torch.arange(48) % 28)
estimate = guards.estimated_memory(network, criterion, batch)
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
for step in range(3):
    engine.train_step(state, context, batch, step)
print(estimate, resident("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is measured as Linux counts it")
@pytest.mark.parametrize(
    "network",
    [
        {"architecture": "mobilefacenet", "stem": 32, "stages": [40, 96, 96, 96, 96], "last_channels": 448},
        {"architecture": "iresnet", "depth": 18, "width": 0.25},
    ],
    ids=["student", "teacher"],
)
def test_estimate_is_above_the_measured_peak(network):
    command = [sys.executable, "-c", PEAK, json.dumps([network, TRAINING])]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    estimate, peak = (int(number) for number in process.stdout.split())
    assert peak < estimate < 3 * peak
