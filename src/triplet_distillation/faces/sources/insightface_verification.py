"""An InsightFace verification pack (``.bin``: lfw, agedb_30, cplfw, calfw, cfp_fp, …)."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from triplet_distillation.faces.insightface import read_verification_pack, verification_pairs
from triplet_distillation.faces.sources import (
    Downloads,
    EncodedFace,
    Source,
    SourceImage,
    verified_digest,
)
from triplet_distillation.files import link_or_copy


class InsightFaceVerificationSource(Source):
    """The faces and pairs of a verification pack, which does not name identities.

    Args:
        path: of the ``.bin`` file.
        folds: number of folds into which the pairs are split, in their order.
        sha256: expected hex digest; empty skips the comparison.
    """

    aligned = True
    knows_identities = False
    protocols = ("published",)
    contents = ""
    citation = "that of the pack's data set"
    license = "that of the pack's data set"

    def __init__(self, *, path: str, folds: int = 10, sha256: str = ""):
        self.path, self.folds, self.sha256 = Path(path), folds, sha256
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"InsightFace verification pack {self.path.name}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Link the pack into ``folder``.

        Raises:
            FileNotFoundError: it does not exist.
            ValueError: different checksum.
        """
        self.files[self.path.name] = verified_digest(self.path, self.sha256)
        link_or_copy(self.path, folder / self.path.name)
        return [SourceImage(self.path.name, "")]

    def faces(self, folder: Path) -> Iterator[EncodedFace]:
        """The pack's images in order; each gets an identity of its own, because the names are unknown."""
        images, _ = read_verification_pack(folder / self.path.name)
        for number, image in enumerate(images):
            yield EncodedFace(image, f"{self.path.stem} {number}", str(number))

    def pairs(self, folder: Path, protocol: str) -> pd.DataFrame:
        """Images 2i and 2i + 1, with ``a, b`` as their names."""
        _, same = read_verification_pack(folder / self.path.name)
        return verification_pairs(same, self.folds).astype({"a": str, "b": str})
