"""An InsightFace verification pack (``.bin``: lfw, agedb_30, cplfw, calfw, cfp_fp, …)."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from triplet_distillation.faces.insightface import read_verification_pack, verification_pairs
from triplet_distillation.faces.sources import AlignedFace, Downloads, Photograph, checked_digest, link_or_copy


class Source:
    """The faces and pairs of a verification pack; whom a face shows is not in the pack.

    Args:
        path: of the ``.bin`` file.
        folds: into which the pairs are cut, in their order.
        sha256: hex digest that it must have; empty does not compare.
    """

    aligned = True
    citation = "that of the pack's data set"
    licence = "that of the pack's data set"

    def __init__(self, *, path: str, folds: int = 10, sha256: str = ""):
        self.path, self.folds, self.sha256 = Path(path), folds, sha256
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"InsightFace verification pack {self.path.name}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[Photograph]:
        """Link the pack below ``folder``.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: another checksum.
        """
        self.files[self.path.name] = checked_digest(self.path, self.sha256)
        link_or_copy(self.path, folder / self.path.name)
        return [Photograph(self.path.name, "")]

    def faces(self, folder: Path) -> Iterator[AlignedFace]:
        """The pack's images in their order; each is an identity of its own, since no names are known."""
        images, _ = read_verification_pack(folder / self.path.name)
        for number, image in enumerate(images):
            yield AlignedFace(image, f"{self.path.stem} {number}", str(number))

    def pairs(self, folder: Path) -> pd.DataFrame:
        """Images 2i and 2i + 1, ``a, b`` as their names."""
        _, same = read_verification_pack(folder / self.path.name)
        return verification_pairs(same, self.folds).astype({"a": str, "b": str})
