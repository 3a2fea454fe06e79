"""Atomic writes, so that a file is either complete or absent, and locks."""

import contextlib
import fcntl
import json
import logging
import math
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, TextIO

log = logging.getLogger(__name__)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Generator[Path]:
    """Yield a temporary path to write to; rename it to ``path`` if the block succeeds, otherwise remove it.

    The temporary file keeps the extension, for writers that choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: str | os.PathLike, remove: bool = False) -> Generator[None]:
    """Hold the lock file ``path`` exclusively; waits while another process holds it.

    The operating system releases the lock when its holder dies, however it dies.

    Args:
        remove: delete the file afterwards.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(path) as lock:
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        if remove:
            path.unlink(missing_ok=True)


def _lock_file(path: Path) -> TextIO:
    """Open and lock ``path``, again if whoever held it has deleted it meanwhile."""
    while True:
        lock = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            log.warning("%s is held by process %s: waiting for it to end", path, lock.read().strip() or "unknown")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            return lock
        lock.close()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write ``content`` as indented JSON, keeping the order of its keys; what is not known is None.

    Raises:
        ValueError: a number in it is NaN or infinite, which JSON does not have; the message says where.
    """
    try:
        text = json_text(content)
    except ValueError as error:
        where = ", ".join(f"{key} is {number}" for key, number in _non_finite(content)) or error
        raise ValueError(f"{path} is not written, as it would not be JSON: {where}") from error
    write_text(path, text)


def json_text(content: object) -> str:
    """``content`` as :func:`write_json` writes it."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _non_finite(content: Any, key: str = "the content") -> list[tuple[str, float]]:
    """The numbers in ``content`` that JSON does not have, each with its key or its place in a list."""
    if isinstance(content, float):
        return [] if math.isfinite(content) else [(key, content)]
    if isinstance(content, dict):
        return [found for name, each in content.items() for found in _non_finite(each, str(name))]
    if isinstance(content, list | tuple):
        return [found for place, each in enumerate(content) for found in _non_finite(each, f"{key}[{place}]")]
    return []


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
