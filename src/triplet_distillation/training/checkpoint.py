"""Checkpoints: what a killed training resumes from.

They are in a folder that is not a rule's output, because the outputs of a failed job are
deleted. A checkpoint carries a digest of the settings, data and code that it belongs to;
one that does not match is set aside and never used.
"""

import contextlib
import fcntl
import logging
import os
import pickle
from collections.abc import Generator
from pathlib import Path

import torch

from triplet_distillation.files import atomic_write

log = logging.getLogger(__name__)
PATTERN = "step*.pt"
KEEP_LAST = 2
"""Number of checkpoints to keep, so that there is one to fall back on if the newest is damaged."""


@contextlib.contextmanager
def locked(folder: str | Path) -> Generator[Path]:
    """Hold the folder exclusively; waits while another process holds it.

    The operating system releases the lock when its holder dies, however it dies, so a
    job orphaned by a killed Snakemake and its successor never write to the same folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            log.warning("%s is held by process %s: waiting for it to end", folder, lock.read().strip() or "unknown")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield folder


def save(folder: Path, digest: str, step: int, state: dict) -> None:
    """Write ``state`` (tensors and plain data) after ``step`` steps, and remove all but the newest checkpoints."""
    with atomic_write(folder / f"step{step:08d}.pt") as temporary:
        torch.save({"digest": digest, "state": state}, temporary)
    for old in _newest_first(folder)[KEEP_LAST:]:
        old.unlink()


def load(folder: Path, digest: str) -> dict | None:
    """The newest readable checkpoint in the folder that belongs to ``digest``, or None.

    Those with another digest are renamed to ``….stale``, with a warning.
    """
    for path in _newest_first(folder):
        try:
            content = torch.load(path, weights_only=True, map_location="cpu")
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            log.warning("%s cannot be read (%s): trying the one before it", path, error)
            continue
        if content["digest"] == digest:
            return content["state"]
        stale = path.with_suffix(".pt.stale")
        path.replace(stale)
        log.warning("%s belongs to other settings, data or code: set aside as %s", path, stale.name)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN), reverse=True)
