"""Atomic writes, so that a file is either complete or absent; locks and links, also where file systems lack them."""

import contextlib
import errno
import fcntl
import json
import logging
import math
import os
import re
import shutil
import socket
import time
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

log = logging.getLogger(__name__)
UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL}
"""What file systems answer to calls that they lack: FUSE, BeeGFS, or Lustre mounted without ``flock``."""
ABANDONED = 24 * 3600
"""Age (s) at which a temporary file of another host, whose processes are not seen here, counts as left behind."""
_WARNED: set[str] = set()


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Generator[Path]:
    """Yield a temporary path to write to; rename it to ``path`` if the block succeeds, otherwise remove it.

    The temporary file keeps the extension, for writers that choose a format by it. Those that killed processes left
    behind are removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = path.with_name(f".{path.stem}.{_host()}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _host() -> str:
    """The name of this machine as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files for ``path`` whose process is dead, or which another host left untouched for long."""
    name = re.compile(rf"\.{re.escape(path.stem)}\.([A-Za-z0-9-]+)\.([0-9]+){re.escape(path.suffix)}")
    for temporary in path.parent.glob(f".{_without_wildcards(path.stem)}.*"):
        if found := name.fullmatch(temporary.name):
            host, process = found[1], int(found[2])
            with contextlib.suppress(FileNotFoundError):  # its process may end at this moment
                if _is_dead(process) if host == _host() else time.time() - temporary.stat().st_mtime > ABANDONED:
                    temporary.unlink()


def _without_wildcards(name: str) -> str:
    """``name`` for a glob, which takes it literally."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _is_dead(process: int) -> bool:
    """Whether no process of this machine has the number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's
        return False
    return False


@contextlib.contextmanager
def locked(path: str | os.PathLike, remove: bool = False) -> Generator[None]:
    """Hold the lock file ``path`` exclusively; waits while another process holds it.

    The operating system releases the lock when its holder dies, however it dies. On a file system without locks, this
    only warns.

    Args:
        remove: delete the file afterwards.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open_locked(path) as lock:
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        if remove:
            path.unlink(missing_ok=True)


def _open_locked(path: Path) -> IO[str]:
    """Open and lock ``path``, again if whoever held it has deleted it meanwhile."""
    while True:
        lock = path.open("a+", encoding="utf-8")
        try:
            _wait_for_lock(lock, path)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            _warn_once(
                path.parent,
                f"no locks ({error.strerror})",
                "two jobs may make the same result at the same time: run one Snakemake only, or set share to false",
            )
        if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            return lock
        lock.close()


def _wait_for_lock(lock: IO[str], path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        log.warning("%s is held by process %s: waiting for it to end", path, lock.read().strip() or "unknown")
        fcntl.flock(lock, fcntl.LOCK_EX)


def link_or_copy(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Put a file at ``target``, without copying its bytes if the file system allows."""
    source, target = Path(source).resolve(), Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        # Another disk, too many links, or a file that is there already: no reason for a warning.
        if error.errno in UNSUPPORTED:
            _warn_once(target.parent, f"no hard links ({error.strerror})", "files are copied")
        shutil.copyfile(source, target)


def symlink_or_copy(target: str | os.PathLike, path: str | os.PathLike) -> None:
    """Replace ``path`` by a relative link to the file ``target``, or by a copy where the file system has no links."""
    target, path = Path(target).resolve(), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        try:
            temporary.symlink_to(os.path.relpath(target, path.parent.resolve()))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            _warn_once(path.parent, f"no symbolic links ({error.strerror})", "shared results are copied")
            shutil.copyfile(target, temporary)


def _warn_once(folder: Path, lacks: str, so: str) -> None:
    """Say what the file system of a folder lacks, and what follows; the next folders without it go without saying."""
    if lacks not in _WARNED:
        _WARNED.add(lacks)
        log.warning("%s: this file system has %s: %s", folder, lacks, so)


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
