"""Checkpoints: what a killed training goes on from.

They lie in a folder that no rule has as its output, because the outputs of a failed job
are deleted. A checkpoint carries a digest of what it belongs to (settings, data, code);
one that belongs to something else is set aside, never used.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from triplet_distillation.files import whole

log = logging.getLogger(__name__)
NAME = "checkpoint.pt"


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


def save(folder: Path, digest: str, state: dict) -> None:
    """Write ``state`` (tensors and plain data) as the folder's checkpoint, in place of the one before."""
    with whole(folder / NAME) as temporary:
        torch.save({"digest": digest, "state": state}, temporary)


def load(folder: Path, digest: str) -> dict | None:
    """The folder's checkpoint if it belongs to ``digest``, else None.

    One of another digest is renamed to ``checkpoint.stale.pt`` with a warning.
    """
    path = folder / NAME
    if not path.exists():
        return None
    content = torch.load(path, weights_only=True, map_location="cpu")
    if content["digest"] == digest:
        return content["state"]
    stale = path.with_suffix(".stale.pt")
    path.replace(stale)
    log.warning("%s belongs to other settings, data or code: set aside as %s, training starts anew", path, stale.name)
    return None
