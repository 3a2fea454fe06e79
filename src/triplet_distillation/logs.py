"""A quiet log file per job; on the terminal, a progress bar and a one-line summary."""

import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from triplet_distillation import portable

_terminal = sys.stderr


@contextlib.contextmanager
def logged_to(path: str) -> Generator[None]:
    """Redirect all output, including that of native code, to ``path``; an uncaught error is logged there too.

    Raises:
        PortabilityError: the libraries were loaded with other kernels than the process was started for.
    """
    global _terminal
    _terminal = os.fdopen(os.dup(2), "w")
    sys.stdout.flush()
    sys.stderr.flush()
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
        print(f"{type(error).__name__}: {error}\n  (log: {path})", file=_terminal, flush=True)
        sys.exit(1)


def log_to_stderr() -> None:
    """Send the library's log messages and Python's warnings to this process's stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.captureWarnings(True)


def progress(items: Iterable[Any], description: str, unit: str, total: int | None = None, initial: int = 0) -> tqdm:
    """Wrap ``items`` in a progress bar if there is a terminal; otherwise show nothing."""
    return tqdm(items, description, total=total, initial=initial, unit=unit, file=_terminal, disable=None, leave=False)


def summary(text: str) -> None:
    """Print and log one line: what this job produced."""
    logging.info(text)
    if not os.path.sameopenfile(_terminal.fileno(), 2):
        print(text, file=_terminal, flush=True)
