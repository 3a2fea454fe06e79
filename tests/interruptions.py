"""Interrupts programs at random moments, in three ways, for tests that the next run leaves the files of a whole one.

TRIPLET_DISTILLATION_INTERRUPTIONS=10 interrupts each job ten times in each way instead of twice.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
INTERRUPTIONS = int(os.environ.get("TRIPLET_DISTILLATION_INTERRUPTIONS", "2"))
RANDOM = np.random.default_rng(11)
PREAMBLE = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); from pathlib import Path; "


class Whole(NamedTuple):
    """How long an uninterrupted run takes (s), and the size of the largest file that it writes (bytes)."""

    seconds: float
    size: int


def run_signaled(program: str, whole: Whole, number: signal.Signals, *arguments) -> None:
    """Start a program as the leader of a process group, which gets a signal after a random part of its time."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program, *map(str, arguments)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(float(RANDOM.uniform(0.05, 0.6)) * whole.seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    process.wait()


def run_killed(program: str, whole: Whole, *arguments) -> None:
    run_signaled(program, whole, signal.SIGKILL, *arguments)


def run_terminated(program: str, whole: Whole, *arguments) -> None:
    run_signaled(program, whole, signal.SIGTERM, *arguments)


def run_on_a_full_disk(program: str, whole: Whole, *arguments) -> None:
    """No file can have more than a random part of the bytes of the largest one: writing fails as on a full disk."""
    limit = int(RANDOM.uniform(0.02, 0.95) * whole.size)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + limited + program, *map(str, arguments)],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr


in_three_ways = pytest.mark.parametrize("interrupt", [run_killed, run_terminated, run_on_a_full_disk])


def run_to_completion(program: str, *arguments) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", PREAMBLE + program, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def names_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def check_interrupted_and_rerun(
    program: str, folder: Path, source, interrupt: Callable[..., None], outputs: tuple[str, ...]
) -> None:
    """A program that makes ``outputs`` from ``source`` in a folder: nothing that differs from an uninterrupted run, and
    no other file, may remain."""
    undisturbed = folder / "undisturbed"
    seconds = run_to_completion(program, source, undisturbed)
    expected = {name: (undisturbed / name).read_bytes() for name in outputs}
    whole = Whole(seconds, max(map(len, expected.values())))
    unfinished = 0
    for number in range(INTERRUPTIONS):
        out = folder / str(number)
        interrupt(program, whole, source, out)
        assert all(not (out / name).exists() or (out / name).read_bytes() == expected[name] for name in outputs)
        unfinished += not all((out / name).exists() for name in outputs)
        run_to_completion(program, source, out)
        assert {name: (out / name).read_bytes() for name in outputs} == expected
        assert names_below(out) == names_below(undisturbed)
    assert unfinished
