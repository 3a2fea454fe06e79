"""Results that do not depend on the study: made once, kept beside the studies, under what decides them.

A shared folder has one subfolder per result. It is named by a digest of the settings, the input files, the code
and the versions of the libraries, which ``made.json`` in it lists. A study's own files are links into it.
"""

import datetime
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from triplet_distillation.files import locked, read_json, symlink_or_copy, write_json
from triplet_distillation.logs import summary
from triplet_distillation.provenance import digest, file_digest, file_record, library_versions, recorded_digest

RECORD = "made.json"
"""Says what decided a shared result; it is written last, so that a folder without it is incomplete."""


def make_once(
    folder: str | None, decided_by: Callable[[], dict], outputs: Mapping[str, str], make: Callable[[], None]
) -> None:
    """Link the outputs to the result that another study has made in the same way; if there is none, make it.

    Two processes that want the same result wait for each other.

    Args:
        folder: for results of this kind, which is created; without one, the outputs are made and not shared.
        decided_by: returns what decides the result, as JSON can hold it: settings, digests of files, code.
        outputs: a name for each output, and its path.
        make: writes the outputs.
    """
    if not folder:
        make()
        return
    decided = {**decided_by(), "libraries": library_versions()}
    entry = Path(folder) / digest(decided)[:32]
    kept = {name: entry / f"{name}{Path(path).suffix}" for name, path in outputs.items()}
    with locked(entry / "lock"):
        if all(_is_unchanged(path) for path in kept.values()):
            made = read_json(entry / RECORD)["made"]
            where = Path(next(iter(outputs.values()))).parent
            summary(f"{where}: {', '.join(outputs)} linked from {entry}, made in the same way ({made})")
        else:
            started = time.monotonic()
            make()
            seconds = time.monotonic() - started
            for name, path in outputs.items():
                shutil.move(path, kept[name])
            write_json(entry / RECORD, _record(kept.values(), seconds, decided))
        # Not hard links: they have the time of the shared file, which is older than the study's other files, so that
        # Snakemake would run the job again. Relative ones, so that the folder of all studies can be moved.
        for name, path in outputs.items():
            symlink_or_copy(kept[name], path)


def _record(kept: Iterable[Path], seconds: float, decided: dict) -> dict:
    """What :data:`RECORD` says: when the files were made, in how many seconds, what is in them, what decided them."""
    return {
        "made": datetime.datetime.now().astimezone().isoformat(timespec="microseconds"),
        "seconds": round(seconds, 3),
        "files": {path.name: file_record(path) for path in kept},
        "decided_by": decided,
    }


def _is_unchanged(path: Path) -> bool:
    """Whether a file belongs to a shared result that was finished, and is as it was then.

    Its content is only read if its time is another, as after a copy.
    """
    record = path.parent / RECORD
    if not record.is_file() or not path.is_file():
        return False
    then = read_json(record)["files"].get(path.name, {})
    return then.get("size") == path.stat().st_size and then["sha256"] == recorded_digest(path, then)


def remove_broken_links(folder: str | Path) -> None:
    """Remove a study's links to shared results that are gone, so that they are made again.

    Snakemake takes a link to nothing for a file, and stops because that has no time.
    """
    for parent, folders, names in os.walk(folder):
        if "images" in folders:  # many files, none of them shared
            folders.remove("images")
        for path in (Path(parent, name) for name in names):
            if path.is_symlink() and not path.exists() and "shared" in path.readlink().parts:
                path.unlink()


def identity(path: str | Path) -> str:
    """What is in a file: its place in a shared folder and when it was made, or else its SHA-256.

    The place alone does not stand for the content: what a GPU has made, and makes again, has other bits.
    """
    path = Path(path).resolve()
    if not _is_unchanged(path):
        return file_digest(path)
    return f"{'/'.join(path.parts[-3:])} {read_json(path.parent / RECORD)['made']}"
