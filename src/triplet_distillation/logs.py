"""A quiet log file per job; on the terminal, a progress bar and a one-line summary; without one, a line every minute.

Neither a terminal that has been closed nor one that lacks a character fails a job.
"""

import contextlib
import io
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

from tqdm import tqdm

from triplet_distillation import portable


class _Terminal(io.TextIOWrapper):
    """A copy of standard error, in the encoding of the locale; what cannot be shown there is left out or escaped."""

    def __init__(self, descriptor: int = 2):
        super().__init__(io.FileIO(os.dup(descriptor), "w"), errors="backslashreplace", write_through=True)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


FAILED = "FAILED: "
"""Starts the cause of a job's failure, which is the end of its log."""
SHOWN_AT_END = "TRIPLET_DISTILLATION_CAUSES_AT_END"
"""Set in jobs whose workflow shows the causes of failures itself, as the last thing on the screen."""
REPORT_EVERY = 60
"""Seconds between two lines about long work where there is no terminal for a progress bar."""
FORMAT = "%(asctime)s %(levelname)s %(message)s"
_terminal: io.TextIOBase | None = None
"""Where the user is told of a job that logs to a file."""
_job = ""
"""What that job is called: the path of its log below the folder of logs."""


@contextlib.contextmanager
def logged_to(path: str) -> Generator[None]:
    """Redirect all output, including that of native code, to ``path``; an uncaught error is logged there too.

    Raises:
        PortabilityError: the libraries were loaded with other kernels than the process was started for.
    """
    global _terminal, _job
    _open_standard_streams()
    _terminal, _job = _Terminal(), path.rpartition("/logs/")[2].removesuffix(".log")
    with Path(path).open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    log_to_stderr()
    started = time.monotonic()
    try:
        portable.check_kernels()
        yield
        logging.info("done in %.1f s", time.monotonic() - started)
    except BaseException as error:
        traceback.print_exc()
        cause = f"{type(error).__name__}: {error}"
        print(f"{FAILED}{cause}", file=sys.stderr, flush=True)
        if SHOWN_AT_END not in os.environ:
            print(f"{cause}\n  (log: {path})", file=_terminal, flush=True)
        sys.exit(1)


def log_notebook(path: str) -> None:
    """As :func:`logged_to`, for the rest of the notebook in whose kernel this is called: cells still show their output.

    Raises:
        PortabilityError: as :func:`logged_to`.
    """
    global _terminal
    from IPython.core.interactiveshell import InteractiveShell

    try:
        _terminal = _Terminal(sys.stderr.fileno())  # where it went before the kernel took it for the notebook
    except io.UnsupportedOperation:  # the kernel takes only what Python itself writes
        _terminal = _Terminal()
    log = logging.FileHandler(path, encoding="utf-8")
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=[log], force=True)
    logging.captureWarnings(True)

    def failed(shell: Any, kind: type, error: BaseException, trace: Any, tb_offset: int | None = None) -> None:
        cause = f"{kind.__name__}: {error}"
        with Path(path).open("a", encoding="utf-8") as opened:
            print("".join(traceback.format_exception(error)), f"{FAILED}{cause}", sep="", file=opened)
        if SHOWN_AT_END not in os.environ:
            print(f"{cause}\n  (log: {path})", file=_terminal, flush=True)
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)

    InteractiveShell.instance().set_custom_exc((BaseException,), failed)
    portable.check_kernels()


def causes_of_failure(folder: str | Path, since: float) -> list[str]:
    """Why jobs have failed, each with the path of its log.

    Args:
        folder: of the logs.
        since: time (s) before which a log was last written that does not matter.
    """
    found = []
    for path in sorted(Path(folder).rglob("*.log")):
        if path.stat().st_mtime >= since:
            _, failed, cause = path.read_text(encoding="utf-8", errors="replace").rpartition(f"\n{FAILED}")
            found += [f"{cause.strip()}\n  (log: {path})"] if failed else []
    return found


def _open_standard_streams() -> None:
    """Send those of standard input, output and error that were closed to nowhere; write what is pending of the others.

    Otherwise the next file that is opened would take their place.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):  # None, if it was closed when Python started
            stream.flush()


def log_to_stderr() -> None:
    """Send the library's log messages and Python's warnings to this process's stderr, in UTF-8 as any log."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        elif stream is None:
            stream = os.fdopen(descriptor, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
            setattr(sys, name, stream)
    logging.basicConfig(level=logging.INFO, format=FORMAT, force=True)
    logging.captureWarnings(True)


def progress(
    items: Iterable[Any],
    description: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    describe: Callable[[float], str] | None = None,
) -> Iterator[Any]:
    """Yield ``items`` beside a progress bar if there is a terminal; otherwise print and log a line every minute.

    Args:
        items: what is worked on.
        description: what is done with them.
        unit: what one item is, in the singular.
        total: number of items, if ``items`` has no length.
        initial: how many of them an earlier run has done.
        describe: what else to say, from the current rate in items per second; by default, that rate.
    """
    file: Any = _terminal or sys.stderr
    if file.isatty():
        return iter(tqdm(items, description, total=total, initial=initial, unit=unit, file=file, leave=False))
    total = total or (len(items) if isinstance(items, Sized) else None)
    describe = describe or (lambda rate: f"{rate:.3g} {unit}s/s")

    def line(done: int, rate: float) -> str:
        left = f", {as_duration((total - done) / rate)} left" if total else ""
        return f"{description}, {unit} {done:,}{f' of {total:,}' if total else ''}, {describe(rate)}{left}"

    return _with_lines(items, initial, line)


def _with_lines(items: Iterable[Any], initial: int, line: Callable[[int, float], str]) -> Iterator[Any]:
    """Yield ``items``; from time to time, show a line about how many are done, at which rate."""
    started = reported = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= REPORT_EVERY:
            reported = now
            summary(f"{f'{_job}: ' if _job else ''}{line(initial + done, done / (now - started))}")


def as_duration(seconds: float) -> str:
    """Seconds in words: ``41 s``, ``3 min 5 s``, ``2 h 10 min``, ``3 d 4 h``."""
    rest = round(seconds)
    parts = []
    for name, unit in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, rest = divmod(rest, unit)
        parts += [f"{number} {name}"] if number or parts or name == "s" else []
    return " ".join(part for part in parts[:2] if not part.startswith("0 ") or len(parts) == 1)


def summary(text: str) -> None:
    """Print and log one line: what this job produced."""
    logging.info(text)
    if _terminal:
        print(text, file=_terminal, flush=True)
