"""Each stage is killed at three random moments: the next run ends with the bytes of an uninterrupted one."""

import multiprocessing
import os
import sys
import time

import numpy as np
import pytest
from runs import distill, run, sibling_folder

KILLS = 3
TRAINING = {"iterations": 10, "checkpoint_every": 2}
RANDOM = np.random.default_rng(5)


@pytest.fixture(scope="module")
def process_context():
    """A context whose processes have already imported everything, so that a kill hits the training itself."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["triplet_distillation.training.job", "runs"])
    warmup = context.Process(target=time.sleep, args=(0,))
    warmup.start()
    warmup.join()
    return context


def train(stage, folder, store, student):
    """One complete training in this process, without output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    if stage == "arcface":
        run(folder, store, training=TRAINING)
    else:
        distill(folder, store, student, training=TRAINING)


def wait_for_first_step(process, folder) -> None:
    """Wait until the training has started or ended."""
    while not (folder / "checkpoint" / "tensorboard").exists() and process.is_alive():
        time.sleep(0.005)


@pytest.mark.parametrize("stage", ["arcface", "distillation"])
def test_killed(process_context, tmp_path, small_store, stage):
    uninterrupted = tmp_path / "undisturbed"
    uninterrupted.mkdir()
    student = tmp_path / "student"
    student.mkdir()
    run(student, small_store)
    student = student / "weights.safetensors"

    def make_process(folder):
        return process_context.Process(target=train, args=(stage, folder, small_store, student))

    reference = make_process(uninterrupted)
    reference.start()
    wait_for_first_step(reference, uninterrupted)
    started = time.perf_counter()
    reference.join()
    seconds = time.perf_counter() - started
    expected = (uninterrupted / "weights.safetensors").read_bytes()
    resumed = 0
    for number in range(KILLS):
        folder = sibling_folder(uninterrupted, str(number))
        killed = make_process(folder)
        killed.start()
        if number:  # the first is killed before or while it starts
            wait_for_first_step(killed, folder)
        time.sleep(float(RANDOM.uniform(0.3, 0.9)) * seconds)
        killed.kill()
        killed.join()
        resumed += bool(list((folder / "checkpoint").glob("*.pt"))) and not (folder / "weights.safetensors").exists()
        rerun = make_process(folder)
        rerun.start()
        rerun.join()
        assert (folder / "weights.safetensors").read_bytes() == expected
    assert resumed
