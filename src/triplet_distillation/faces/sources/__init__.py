"""Data sources, one file each: a class derived from :class:`Source`."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from triplet_distillation.provenance import file_digest


class SourceImage(NamedTuple):
    """An image as the source has it: ``path`` relative to the data set's folder, with forward slashes."""

    path: str
    identity: str


class EncodedFace(NamedTuple):
    """A face that the source has already aligned: encoded 112×112 image, identity, and name within the source."""

    content: bytes
    identity: str
    name: str


class Downloads(NamedTuple):
    """Folder for the downloads of all studies, and a local folder that is searched first."""

    folder: Path
    mirror: str | None


class Source:
    """Base class; settings from the configuration are keyword-only arguments of ``__init__``.

    ``aligned``: whether its faces are already aligned; ``has_pairs``: whether it has a published
    protocol; ``origin``: a description for readers; ``files``: archives and packs used, name to
    SHA-256, possibly empty.
    """

    aligned = False
    has_pairs = False
    citation: str
    license: str
    files: dict[str, str]

    @property
    def origin(self) -> str:
        raise NotImplementedError

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Put the images into ``folder`` and list them; a source of aligned faces lists its packs."""
        raise NotImplementedError

    def faces(self, folder: Path) -> Iterable[EncodedFace]:
        """The faces of a source that is ``aligned``, from what :meth:`acquire` put into ``folder``."""
        raise NotImplementedError

    def pairs(self, folder: Path) -> pd.DataFrame:
        """The published protocol: ``a, b`` (``path`` of a SourceImage, ``name`` of an EncodedFace), ``same, fold``."""
        raise NotImplementedError


def verified_digest(path: Path, expected: str) -> str:
    """SHA-256 of a local file.

    Args:
        expected: what it must be; empty skips the comparison.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it has a different checksum.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file: correct its path in datasets (relative to the working directory)"
        )
    found = file_digest(path)
    if expected and found != expected:
        raise ValueError(
            f"{path} has the SHA-256 {found}, not {expected}: it may be another version of the file; download it again"
        )
    return found


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file at ``target``, without copying its bytes if the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
