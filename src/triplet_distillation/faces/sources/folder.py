"""A folder of photographs: one sub-folder a person, named as the person."""

import os
from pathlib import Path

from triplet_distillation.faces.sources import Downloads, Photograph, link_or_copy

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".heic", ".heif"}


class Source:
    """Your own photographs.

    Args:
        path: the folder; seen from the working folder where it is not absolute.

    Files are linked where the file system allows, else copied; hidden files are left out.
    """

    aligned = False
    citation = "none: the user's own photographs"
    licence = "the user's to know"
    files: dict[str, str] = {}  # noqa: RUF012  no archive is used

    def __init__(self, *, path: str):
        self.path = Path(path)

    @property
    def origin(self) -> str:
        return f"folder {self.path.name}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[Photograph]:
        """Link the photographs below ``folder``, in the order of their names.

        Raises:
            NotADirectoryError: the folder is not there.
            ValueError: it has no sub-folders with photographs.
        """
        if not self.path.is_dir():
            raise NotADirectoryError(f"{self.path} is no folder: mend datasets.<name>.path in the configuration")
        found = photographs_in(self.path, "*/*")
        if not found:
            raise ValueError(f"{self.path} has no photographs: one sub-folder a person is wanted, as anna/1.jpg")
        photographs = []
        for path in found:
            relative = _as_text(path.relative_to(self.path))
            link_or_copy(path, folder / relative)
            photographs.append(Photograph(relative, relative.split("/")[0]))
        return photographs


def photographs_in(folder: Path, pattern: str) -> list[Path]:
    """Files in ``folder`` that match ``pattern`` and have a photograph's ending, sorted; hidden ones left out."""
    return [
        path
        for path in sorted(folder.glob(pattern))
        if path.is_file() and path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    ]


def _as_text(path: Path) -> str:
    """A relative path as text that every table can hold: bytes that are no UTF-8 are written as ``\\xe9``."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
