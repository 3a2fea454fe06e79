"""Several processes on CPUs (gloo): the losses of one process, also after resuming with another number."""

import os
import signal
import stat
import time

import numpy as np
import pytest
import torch
from runs import GENTLE, NETWORK, distill, run, sibling_folder, stop_after

from triplet_distillation import registry
from triplet_distillation.losses import LossContext, Step
from triplet_distillation.networks import weights
from triplet_distillation.settings import ExecutionSettings
from triplet_distillation.training import distributed
from triplet_distillation.training.distributed import DistributedContext

TWO = {"processes": 2}


def test_two_processes_have_the_same_losses_as_one(folder, small_store):
    _, one = run(folder, small_store, training=GENTLE)
    _, two = run(sibling_folder(folder, "two"), small_store, training=GENTLE, execution=TWO)
    assert np.abs(one.loss - two.loss).max() < 1e-5 * one.loss.max()
    gentle = GENTLE | {"learning_rate": 0.0001}
    _, one = distill(
        sibling_folder(folder, "one_distilled"), small_store, folder / "weights.safetensors", training=gentle
    )
    second = sibling_folder(folder, "two_distilled")
    _, two = distill(second, small_store, folder / "weights.safetensors", training=gentle, execution=TWO)
    assert np.abs(one.loss - two.loss).max() < 1e-5
    assert np.array_equal(one.active, two.active)


@pytest.mark.parametrize("sampling", [{"kind": "uniform", "batch_size": 2}, {"kind": "uniform", "batch_size": 6}])
def test_process_with_fewer_images_than_the_guard_measures_trains_like_one_process(folder, small_store, sampling):
    """One image each, of which BN has statistics only with the other process's; and three each."""
    training = GENTLE | {"iterations": 3, "learning_rate": 0.0001, "sampling": sampling}
    _, one = run(folder, small_store, training=training)
    _, two = run(sibling_folder(folder, "two"), small_store, training=training, execution=TWO)
    assert np.abs(one.loss - two.loss).max() < 1e-4 * one.loss.max()


def test_two_processes_have_the_same_gradients_as_one(tmp_path):
    """In double precision, so that only a wrong sum can cause a difference."""
    one = gradients(DistributedContext())
    torch.multiprocessing.spawn(_gradients_in_process, (tmp_path,), nprocs=2)
    two = torch.load(tmp_path / "gradients.pt")
    for name, expected in one.items():
        assert torch.allclose(two[name], expected, rtol=1e-9, atol=1e-9), name


def gradients(dist: DistributedContext) -> dict:
    """Gradients of all parameters after one ArcFace loss, and the buffers."""
    torch.manual_seed(0)
    network = weights.create(NETWORK).double().train()
    criterion = registry.load("losses", "arcface")(LossContext(num_identities=6, embedding_size=16)).double()
    images, labels = torch.randn(12, 3, 112, 112).double(), torch.arange(12) % 6
    cpu = torch.device("cpu")
    distributed.convert_sync_batchnorm(network, cpu, dist)
    model = distributed.wrap_ddp(network, cpu, dist)
    embeddings = distributed.all_gather(model(images[dist.rank_slice(12)]), dist)
    criterion(embeddings, Step(labels, torch.Generator()))[0].backward()
    parameters = [*network.named_parameters(), *criterion.named_parameters()]
    return {name: parameter.grad for name, parameter in parameters} | dict(network.named_buffers())


def _gradients_in_process(rank, folder):
    store = torch.distributed.FileStore(str(folder / "rendezvous"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.set_num_threads(1)
    result = gradients(DistributedContext(rank, 2))
    if rank == 0:
        torch.save(result, folder / "gradients.pt")
    torch.distributed.destroy_process_group()


def test_training_resumes_with_another_number_of_processes(folder, small_store, monkeypatch):
    _, uninterrupted = run(folder, small_store, training=GENTLE)
    interrupted = sibling_folder(folder, "stopped")
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, small_store, training=GENTLE)
    _, resumed = run(interrupted, small_store, training=GENTLE, execution=TWO)
    assert resumed.loss[:2].tolist() == uninterrupted.loss[:2].tolist()
    assert np.abs(resumed.loss - uninterrupted.loss).max() < 1e-5 * uninterrupted.loss.max()


def test_stale_checkpoint_is_set_aside_by_the_main_process(folder, small_store):
    run(folder, small_store, training=GENTLE | {"iterations": 2})
    _, history = run(folder, small_store, training=GENTLE | {"iterations": 3}, execution=TWO)
    assert len(history) == 3
    assert len(list((folder / "checkpoint").glob("*.stale"))) == 1


def test_two_nodes_are_started_with_srun(folder, small_store, monkeypatch, tmp_path):
    """``srun`` starts the command once per node; a stand-in starts both on this machine."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(
        '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\n"$@" & first=$!\n"$@" || exit 1\nwait $first\n'
    )
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(srun.parent), prepend=os.pathsep)
    _, one = run(folder, small_store, training=GENTLE | {"iterations": 3})
    execution = {"nodes": 2}
    _, two = run(sibling_folder(folder, "nodes"), small_store, training=GENTLE | {"iterations": 3}, execution=execution)
    assert np.abs(one.loss - two.loss).max() < 1e-5 * one.loss.max()


def test_every_job_has_a_rendezvous_of_its_own():
    """Two trainings that start on one node at the same time do not meet."""
    execution = ExecutionSettings(processes=4, nodes=2)
    first, second = (dict(each.split("=") for each in distributed._launcher(execution) if "=" in each) for _ in "12")
    assert first["--rdzv-endpoint"] != second["--rdzv-endpoint"]
    assert str(os.getpid()) in first["--rdzv-id"]
    assert "--standalone" in distributed._launcher(ExecutionSettings(processes=4))


def test_batch_that_cannot_be_divided_evenly_is_rejected():
    with pytest.raises(ValueError, match="cannot be divided evenly among 4 processes"):
        DistributedContext(0, 4).rank_slice(10)
    positions = torch.arange(12)
    assert torch.cat([positions[DistributedContext(rank, 3).rank_slice(12)] for rank in range(3)]).equal(positions)


def test_failing_process_fails_the_training(folder, small_store):
    with pytest.raises(RuntimeError, match="exited with code"):
        run(folder, small_store, training={"learning_rate": 1e30, "warmup": 0}, execution=TWO)


def run_in_own_group(*arguments, **settings):
    os.setsid()
    run(*arguments, **settings)


def test_sigterm_to_the_group_of_several_processes_writes_a_checkpoint(folder, small_store, tmp_path):
    """No regular checkpoint is due, so the only checkpoint comes from SIGTERM, which reaches loader workers, too."""
    settings = {"training": GENTLE | {"iterations": 5000, "checkpoint_every": 5000, "loader_workers": 1}}
    context = torch.multiprocessing.get_context("spawn")
    process = context.Process(
        target=run_in_own_group, args=(folder, small_store), kwargs=settings | {"execution": TWO}, daemon=False
    )
    process.start()
    events, deadline = folder / "checkpoint" / "tensorboard", time.monotonic() + 120
    while not events.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode
    (path,) = (folder / "checkpoint").glob("*.pt")
    steps = int(path.stem.removeprefix("step"))
    assert 0 < steps < 5000
    state = torch.load(path, weights_only=True)["state"]
    assert state["history"]["step"] == list(range(steps))


@pytest.mark.parametrize("processes", [1, 2])
def test_variables_that_another_launcher_left_in_the_shell_do_not_matter(folder, small_store, monkeypatch, processes):
    expected, _ = run(folder, small_store, execution={"processes": processes})
    left = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "3", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1"}
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert run(sibling_folder(folder, "again"), small_store, execution={"processes": processes})[0] == expected
