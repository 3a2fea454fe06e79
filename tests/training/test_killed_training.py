"""Trainings are stopped at random moments in several ways: the next run leaves the files of an uninterrupted one."""

import errno
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from interruptions import INTERRUPTIONS, RANDOM
from runs import distill, run, sibling_folder

TRAINING = {"iterations": 20, "checkpoint_every": 3, "loader_workers": 2}


@pytest.fixture(scope="module")
def process_context():
    """A context whose processes have already imported everything, so that a signal hits the training itself."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["triplet_distillation.training.job", "runs"])
    warmup = context.Process(target=time.sleep, args=(0,))
    warmup.start()
    warmup.join()
    return context


def train(stage, folder, store, student, start_method, checkpoint_every=TRAINING["checkpoint_every"]):
    """One complete training in this process, in a process group of its own, as a job of a cluster; without output."""
    os.setsid()
    multiprocessing.set_start_method(start_method, force=True)  # of loader workers
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    training = TRAINING | {"checkpoint_every": checkpoint_every}
    if stage == "arcface":
        run(folder, store, training=training)
    else:
        distill(folder, store, student, training=training)


def wait_for_first_step(process, folder) -> None:
    """Wait until the training has started or ended."""
    while not (folder / "checkpoint" / "tensorboard").exists() and process.is_alive():
        time.sleep(0.005)


def files_of(folder) -> set[str]:
    """Names of all files but TensorBoard's, of which each part of a training has its own, without steps."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if "tensorboard" not in path.parts)
    return {re.sub("/step[0-9]+", "/step", name) for name in names}


@pytest.fixture
def student(tmp_path, small_store):
    (tmp_path / "student").mkdir()
    run(tmp_path / "student", small_store)
    return tmp_path / "student" / "weights.safetensors"


@pytest.mark.parametrize(
    ("stage", "start_method", "how"),
    [
        ("arcface", "fork", signal.SIGKILL),
        ("distillation", "fork", signal.SIGKILL),
        ("arcface", "forkserver", signal.SIGTERM),
        ("distillation", "fork", signal.SIGTERM),
    ],
)
def test_stopped(process_context, tmp_path, small_store, student, stage, start_method, how):
    """The signal goes to the whole process group, loader workers included, as that of a scheduler does."""
    uninterrupted = tmp_path / "undisturbed"
    uninterrupted.mkdir()

    def start(folder, *checkpoint_every):
        arguments = (stage, folder, small_store, student, start_method, *checkpoint_every)
        process = process_context.Process(target=train, args=arguments, daemon=False)
        process.start()
        return process

    def run_to_completion(folder):
        process = start(folder)
        process.join()
        assert process.exitcode == 0
        return (folder / "weights.safetensors").read_bytes()

    reference = start(uninterrupted)
    wait_for_first_step(reference, uninterrupted)
    started = time.perf_counter()
    reference.join()
    seconds = time.perf_counter() - started
    expected = (uninterrupted / "weights.safetensors").read_bytes()
    resumed = 0
    for number in range(INTERRUPTIONS):
        folder = sibling_folder(uninterrupted, f"stopped{number}")
        # SIGTERM itself writes a checkpoint: no other is due.
        stopped = start(folder, *([10**6] if how == signal.SIGTERM else []))
        wait_for_first_step(stopped, folder)
        time.sleep(float(RANDOM.uniform(0.1, 0.7)) * seconds)
        os.killpg(stopped.pid, how)
        stopped.join()
        finished = (folder / "weights.safetensors").exists()
        resumed += bool(list((folder / "checkpoint").glob("*.pt"))) and not finished
        if how == signal.SIGTERM and not finished:
            assert stopped.exitcode == 1, "it ended by itself, after it had written its checkpoint"
            assert list((folder / "checkpoint").glob("*.pt"))
        assert run_to_completion(folder) == expected
        assert files_of(folder) == files_of(uninterrupted)
    assert resumed


def train_on_a_small_disk(folder, store):
    """A training that fills the file system of its folder; its exit code is 3 if it says so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    try:
        run(folder, store, training=TRAINING)
    except OSError as error:
        sys.exit(3 if error.errno == errno.ENOSPC else 4)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount a small file system")
def test_full_disk(process_context, tmp_path, small_store):
    """Each time another amount is free, enough for no checkpoint up to several of them."""
    uninterrupted = tmp_path / "undisturbed"
    uninterrupted.mkdir()
    expected, _ = run(uninterrupted, small_store, training=TRAINING)
    size = sum(path.stat().st_size for path in uninterrupted.rglob("*") if path.is_file())
    folder = tmp_path / "disk"
    folder.mkdir()
    for _ in range(INTERRUPTIONS):
        free = int(RANDOM.uniform(0.1, 0.8) * size)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={free}", "tmpfs", str(folder)], check=False)
        if mounted.returncode:
            pytest.skip("mounting is not permitted here")
        try:
            filling = process_context.Process(target=train_on_a_small_disk, args=(folder, small_store))
            filling.start()
            filling.join()
            assert filling.exitcode == 3
            assert not (folder / "weights.safetensors").exists()
            subprocess.run(["mount", "-o", f"remount,size={4 * size}", str(folder)], check=True)
            assert run(folder, small_store, training=TRAINING)[0] == expected
            assert files_of(folder) == files_of(uninterrupted)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
