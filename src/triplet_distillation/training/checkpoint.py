"""Checkpoints: what a killed training resumes from.

They are in a folder that is not a rule's output, because the outputs of a failed job are
deleted. A checkpoint carries a digest of the settings, data and code that it belongs to;
one that does not match is set aside and never used.
"""

import itertools
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from triplet_distillation.files import atomic_write
from triplet_distillation.logs import summary
from triplet_distillation.provenance import library_versions

log = logging.getLogger(__name__)
PATTERN = "step*.pt"
KEEP_LAST = 2
"""Number of checkpoints to keep, so that there is one to fall back on if the newest is damaged."""


def save(folder: Path, digest: str, step: int, state: dict) -> None:
    """Write ``state`` (tensors and plain data) after ``step`` steps, and remove all but the newest checkpoints."""
    for killed in folder.glob(".step*.pt"):  # of whichever step: the folder's lock keeps other trainings out
        killed.unlink()
    with atomic_write(folder / f"step{step:08d}.pt") as temporary:
        torch.save({"digest": digest, "libraries": library_versions(), "state": state}, temporary)
    for old in _newest_first(folder)[KEEP_LAST:]:
        old.unlink()


class Writer:
    """Writes checkpoints while training goes on; use it as a context, which ends when the last one is written.

    Args:
        folder, digest: as for :func:`save`.
    """

    def __init__(self, folder: Path, digest: str):
        self._folder, self._digest = folder, digest
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def __enter__(self) -> "Writer":
        return self

    def write(self, step: int, state: dict) -> None:
        """:func:`save` a copy of ``state``, which may change from now on; waits until the one before is written.

        Raises:
            OSError: that one could not be written.
        """
        self._wait()
        self._pending = self._thread.submit(save, self._folder, self._digest, step, _copy(state))

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._thread.shutdown()
        try:
            self._wait()
        except Exception as error:  # PyTorch has no one kind for a full disk
            if kind is None:
                raise
            log.warning("the last checkpoint could not be written: %s", error)  # another error is on its way


def _copy(state: Any) -> Any:
    """Nested dicts and lists with copies of their tensors in main memory."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _copy(each) for key, each in state.items()}
    return [_copy(each) for each in state] if isinstance(state, list) else state


def load(folder: Path, digest: str) -> dict | None:
    """The newest readable checkpoint in the folder that belongs to ``digest``, or None.

    Those with another digest, or without any, are renamed to ``….stale``, with a warning. One that was written with
    other versions of the libraries is used, and a line on the terminal says so.
    """
    for path in _newest_first(folder):
        if not path.is_file():
            _set_aside(path, "is not a file")
            continue
        try:
            content = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:  # a damaged file may raise anything, an attribute of a wrong type for example
            log.warning("%s cannot be read (%s): trying the one before it", path, error)
            continue
        if not (isinstance(content, dict) and isinstance(content.get("state"), dict)):
            _set_aside(path, "is not a checkpoint of this workflow")
        elif content.get("digest") != digest:
            _set_aside(path, "belongs to other settings, data or code")
        else:
            _report_other_libraries(path, content.get("libraries", {}))
            return content["state"]
    return None


def _set_aside(path: Path, reason: str) -> None:
    names = (f"{path.name}.stale{number or ''}" for number in itertools.count())
    stale = next(each for each in map(path.with_name, names) if not each.exists())
    path.replace(stale)
    log.warning("%s %s: set aside as %s", path, reason, stale.name)


def _report_other_libraries(path: Path, versions: dict[str, str]) -> None:
    """Say that a training is continued under other versions of libraries, which may round differently."""
    now = library_versions()
    if changed := [
        f"{name} {old}, now {now.get(name, 'absent')}" for name, old in versions.items() if now.get(name) != old
    ]:
        summary(f"{path}: written with {', '.join(changed)}: the rest of this training may round differently")


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN), reverse=True)
