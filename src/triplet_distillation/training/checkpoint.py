"""Checkpoints: what a killed training goes on from.

They lie in a folder that no rule has as its output, because the outputs of a failed job
are deleted. A checkpoint carries a digest of what it belongs to (settings, data, code);
one that belongs to something else is set aside, never used.
"""

import contextlib
import fcntl
import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch

from triplet_distillation.files import whole

log = logging.getLogger(__name__)
PATTERN = "step*.pt"
KEPT = 2
"""Newest checkpoints that stay, so that one that a broken disk spoils has one before it."""


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[Path]:
    """Hold the folder for this process alone; waits while another process holds it.

    The operating system releases the lock when its holder dies, however it dies, so a
    job orphaned by a killed Snakemake and its successor never write the same folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            log.warning("%s is held by process %s: waiting until it ends", folder, lock.read().strip() or "unknown")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield folder


def save(folder: Path, digest: str, step: int, state: dict) -> None:
    """Write ``state`` (tensors and plain data) after ``step`` steps, and remove all but the newest checkpoints."""
    with whole(folder / f"step{step:08d}.pt") as temporary:
        torch.save({"digest": digest, "state": state}, temporary)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink()


def load(folder: Path, digest: str) -> dict | None:
    """The newest of the folder's checkpoints that can be read and belongs to ``digest``, else None.

    Those of another digest are renamed to ``….stale`` with a warning.
    """
    for path in _newest_first(folder):
        try:
            content = torch.load(path, weights_only=True, map_location="cpu")
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            log.warning("%s cannot be read (%s): the one before it is tried", path, error)
            continue
        if content["digest"] == digest:
            return content["state"]
        stale = path.with_suffix(".pt.stale")
        path.replace(stale)
        log.warning("%s belongs to other settings, data or code: set aside as %s", path, stale.name)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN), reverse=True)
