"""A job's quiet log in a file; on the screen a progress bar and one line at the end."""

import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

_screen = sys.stderr


@contextlib.contextmanager
def logged_to(path: str) -> Iterator[None]:
    """Send everything that is printed, by native code too, to ``path``; an uncaught error lands there as well."""
    global _screen
    _screen = os.fdopen(os.dup(2), "w")
    sys.stdout.flush()
    sys.stderr.flush()
    with Path(path).open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    log_to_stderr()
    started = time.monotonic()
    try:
        yield
        logging.info("done in %.1f s", time.monotonic() - started)
    except BaseException as error:
        traceback.print_exc()
        print(f"{type(error).__name__}: {error}\n  (log: {path})", file=_screen, flush=True)
        sys.exit(1)


def log_to_stderr() -> None:
    """Have the library's log, and warnings, go where this process's errors go."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.captureWarnings(True)


def progress(items: Iterable, description: str, unit: str, total: int | None = None, initial: int = 0) -> tqdm:
    """A progress bar around ``items`` on the screen, where that is a terminal; nothing elsewhere."""
    return tqdm(items, description, total=total, initial=initial, unit=unit, file=_screen, disable=None, leave=False)


def summary(text: str) -> None:
    """One line on the screen and in the log: what this job made."""
    logging.info(text)
    if not os.path.sameopenfile(_screen.fileno(), 2):
        print(text, file=_screen, flush=True)
