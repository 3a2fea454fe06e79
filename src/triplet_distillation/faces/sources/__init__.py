"""Data sources, one file each.

The contract of a source::

    class Source:
        aligned = False                              # whether its faces are aligned already
        citation = "whom to cite"
        licence = "on what terms"

        def __init__(self, *, path: str):            # settings from the configuration, by keyword
            ...

        origin                                       # where the photographs come from, for people
        files                                        # archives and packs used: name to SHA-256; may be empty

        def acquire(self, folder, downloads):        # put photographs below folder, name them
            return [Photograph("anna/1.jpg", "anna"), ...]

A source whose faces are aligned adds ``faces(folder)``, an iterable of
:class:`AlignedFace`, which are stored as they are. One with a published protocol adds
``pairs(folder)``, a table ``a, b, same, fold`` where a and b name photographs.
"""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from triplet_distillation.provenance import file_digest


class Photograph(NamedTuple):
    """A photograph below its data set's folder (``path``, with forward slashes) and whom it shows."""

    path: str
    identity: str


class AlignedFace(NamedTuple):
    """An encoded 112×112 face, whom it shows, and its name within the source."""

    image: bytes
    identity: str
    name: str


class Downloads(NamedTuple):
    """Where downloads are kept, whichever study they are for, and a folder that is looked into first."""

    folder: Path
    mirror: str | None


def checked_digest(path: Path, wanted: str) -> str:
    """SHA-256 of a local file.

    Args:
        wanted: what it must be; empty does not compare.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it has another checksum.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: mend its path in datasets (seen from the working folder)")
    found = file_digest(path)
    if wanted and found != wanted:
        raise ValueError(f"{path} has the SHA-256 {found}, not {wanted}: files of one name differ; get it again")
    return found


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file at ``target`` without copying its bytes where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
