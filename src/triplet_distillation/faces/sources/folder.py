"""A folder of images: one subfolder per identity, with the identity's name."""

import os
from pathlib import Path

from triplet_distillation.faces.sources import Downloads, Source, SourceImage, link_or_copy

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".heic", ".heif"}


class FolderSource(Source):
    """The user's own images.

    Args:
        path: the folder, relative to the working directory unless absolute.
        real_names: whether the subfolders are named after people, so that nobody is trained on under the same name who
            is tested in another data set. Numbers or codes are not names.

    Files are linked if the file system allows, otherwise copied; hidden files are skipped.
    """

    citation = "the user's own images"
    license = "not recorded"

    def __init__(self, *, path: str, real_names: bool = True):
        self.path, self.real_names = Path(path), real_names
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
            raise NotADirectoryError(f"{self.path} is not a folder: correct datasets.<name>.path in the configuration")
        found = images_in(self.path, "*/*")
        if not found:
            raise ValueError(f"{self.path} has no images: put them into one subfolder per identity, as in anna/1.jpg")
        images = []
        for path in found:
            relative = _as_text(path.relative_to(self.path))
            link_or_copy(path, folder / relative)
            images.append(SourceImage(relative, relative.split("/")[0]))
        return images


def images_in(folder: Path, pattern: str) -> list[Path]:
    """Files in ``folder`` that match ``pattern`` and have an image's extension, sorted; hidden files are skipped."""
    return [
        path
        for path in sorted(folder.glob(pattern))
        if path.is_file() and path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    ]


def _as_text(path: Path) -> str:
    """A relative path as text that any table can hold: bytes that are not UTF-8 are written as ``\\xe9``."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
