"""A folder of images: one subfolder per identity, with the identity's name."""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from triplet_distillation.faces.images import EXTENSIONS
from triplet_distillation.faces.sources import Downloads, Source, SourceImage
from triplet_distillation.files import link_or_copy

NO_CONTENT = {"__macosx", "@eadir", "#recycle", "thumbs.db", "desktop.ini"}
"""Files and folders that systems add beside images, in lower case; hidden ones are skipped like these."""


class FolderSource(Source):
    """The user's own images.

    Args:
        path: the folder, relative to the working directory unless absolute.
        real_names: whether the subfolders are named after people, so that nobody is trained on under the same name who
            is tested in another data set. Numbers or codes are not names.

    Files are linked if the file system allows, otherwise copied. What is passed over is counted, except hidden files.
    """

    contents = "*/"
    citation = "the user's own images"
    license = "not recorded"

    def __init__(self, *, path: str, real_names: bool = True):
        self.path, self.real_names = Path(path), real_names
        self.passed_over: Mapping[str, dict] = {}
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"folder {self.path.name}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Link the images into ``folder``, in the order of their names.

        Raises:
            NotADirectoryError: the folder does not exist.
            ValueError: it has no subfolders with images.
        """
        if not self.path.is_dir():
            raise NotADirectoryError(
                f"{self.path} is not a folder: correct the path of this data set in the configuration"
            )
        found, self.passed_over = find_images(self.path, depth=2)
        if not found:
            raise ValueError(
                f"{self.path} has no images: put them into one subfolder per identity, as in anna/1.jpg"
                f"{in_words(self.passed_over, '; passed over: ')}"
            )
        images = []
        for path in found:
            relative = as_text(path.relative_to(self.path))
            link_or_copy(path, folder / relative)
            images.append(SourceImage(relative, relative.split("/")[0]))
        return images


class Entry(NamedTuple):
    """A file below a folder, or a folder that is not entered; ``problem``: why it is passed over, or empty."""

    path: Path
    problem: str


def find_images(folder: Path, depth: int | None = None) -> tuple[list[Path], dict[str, dict]]:
    """The files below ``folder`` that have the ending of an image, sorted, and what is passed over.

    Linked folders are entered, unless they lead back to one that they are in. Hidden files and folders are skipped.

    Args:
        depth: how many levels below ``folder`` the images are, 1 for those in it; None takes all levels.

    Returns:
        The images, and reason to ``count`` and ``first`` (an example, relative to ``folder``); also logged in one line.
    """
    images: list[Path] = []
    passed_over: dict[str, dict] = {}
    for path, problem in sorted(_entries(folder, (folder.resolve(),))):
        relative = path.relative_to(folder)
        level = len(relative.parts)
        if not problem and depth is not None and level != depth:
            problem = "not in the folder of an identity" if level < depth else "too deep in the folder of an identity"
        if problem:
            passed_over.setdefault(problem, {"count": 0, "first": as_text(relative)})["count"] += 1
        else:
            images.append(path)
    if passed_over:
        logging.warning("%s: passed over %s", as_text(folder), in_words(passed_over))
    return images, passed_over


def _entries(folder: Path, above: tuple[Path, ...]) -> Iterator[Entry]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name.lower() in NO_CONTENT:
            continue
        if path.is_dir():
            if (real := path.resolve()) in above:
                yield Entry(path, "a link to a folder that it is in")
            elif not os.access(path, os.R_OK | os.X_OK):
                yield Entry(path, "a folder without permission to read")
            else:
                yield from _entries(path, (*above, real))
        elif not path.is_file():
            yield Entry(path, "a link to nothing" if path.is_symlink() else "not a file")
        else:
            yield Entry(path, "" if path.suffix.lower() in EXTENSIONS else "without the ending of an image")


def in_words(passed_over: Mapping[str, dict], introduction: str = "") -> str:
    """What is passed over, in one line: per reason the number and the first example; empty if there is nothing."""
    listed = "; ".join(f"{each['count']} {reason}, first {each['first']}" for reason, each in passed_over.items())
    return f"{introduction}{listed}" if listed else ""


def as_text(path: Path) -> str:
    """A relative path as text that any table can hold: bytes that are not UTF-8 are written as ``\\xe9``."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
