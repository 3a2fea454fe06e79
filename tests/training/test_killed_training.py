"""Killed at twenty random moments each: the next run ends with the bytes of an undisturbed one."""

import multiprocessing
import os
import sys
import time

import numpy as np
import pytest
from runs import distill, other, run

TIMES = 20
TRAINING = {"iterations": 10, "checkpoint_every": 2}
RANDOM = np.random.default_rng(5)


@pytest.fixture(scope="module")
def processes():
    """Where processes come from that have imported everything already, so that a kill falls into the training."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["triplet_distillation.training.job", "runs"])
    imported = context.Process(target=time.sleep, args=(0,))
    imported.start()
    imported.join()
    return context


def train(stage, folder, store, student):
    """One whole training in this process, quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    if stage == "arcface":
        run(folder, store, training=TRAINING)
    else:
        distill(folder, store, student, training=TRAINING)


def wait_for_first_step(process, folder) -> None:
    """Until the training has begun, or is over."""
    while not (folder / "checkpoint" / "tensorboard").exists() and process.is_alive():
        time.sleep(0.005)


@pytest.mark.parametrize("stage", ["arcface", "distillation"])
def test_killed(processes, tmp_path, small_store, stage):
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    student = tmp_path / "student"
    student.mkdir()
    run(student, small_store)
    student = student / "weights.safetensors"

    def process(folder):
        return processes.Process(target=train, args=(stage, folder, small_store, student))

    whole = process(undisturbed)
    whole.start()
    wait_for_first_step(whole, undisturbed)
    begun = time.perf_counter()
    whole.join()
    seconds = time.perf_counter() - begun
    expected = (undisturbed / "weights.safetensors").read_bytes()
    resumed = 0
    for number in range(TIMES):
        folder = other(undisturbed, str(number))
        killed = process(folder)
        killed.start()
        if number % 5:  # every fifth is killed before or as it begins
            wait_for_first_step(killed, folder)
        time.sleep(float(RANDOM.uniform(0, 1)) * seconds)
        killed.kill()
        killed.join()
        resumed += bool(list((folder / "checkpoint").glob("*.pt"))) and not (folder / "weights.safetensors").exists()
        again = process(folder)
        again.start()
        again.join()
        assert (folder / "weights.safetensors").read_bytes() == expected
    assert resumed >= TIMES // 4
