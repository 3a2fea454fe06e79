"""CALFW (Zheng, Deng and Hu 2017) and CPLFW (Zheng and Deng 2018): LFW's people across age and across pose."""

from pathlib import Path

import pandas as pd

from triplet_distillation.faces.sources import (
    Downloads,
    Source,
    SourceImage,
    consecutive_folds,
    verified_digest,
)
from triplet_distillation.files import link_or_copy
from triplet_distillation.tabular import read_users_lines

UNUSED = {
    "Landon_Donovan_3jpg.jpg",
    "Leni_Bjorklund-2.jpg",
    "Leni_Bjorklund-3.jpg",
    "Mike_Montgomery_3.jip.jpg",
}
"""Images of CPLFW with misspelled names, which no pair uses."""


class CrossLFWSource(Source):
    """CALFW or CPLFW in the published layout: ``images/`` and ``pairs_CALFW.txt`` or ``pairs_CPLFW.txt``.

    Args:
        path: the folder.
        variant: ``CALFW`` or ``CPLFW``.

    Raises:
        ValueError: unknown variant.
    """

    protocols = ("published",)
    real_names = True
    contents = "images"
    citation = "T. Zheng and W. Deng, Cross-Age LFW (2017) and Cross-Pose LFW (2018), BUPT technical reports"
    license = "for research; to be downloaded by hand from its authors (whdeng.cn)"

    def __init__(self, *, path: str, variant: str):
        if variant not in ("CALFW", "CPLFW"):
            raise ValueError(f"unknown variant {variant!r}: choose CALFW or CPLFW")
        self.path, self.variant = Path(path), variant
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"{self.variant}, the published images"

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Link images and pairs into ``folder``.

        Raises:
            FileNotFoundError: the folder does not have the published layout.
        """
        pairs = f"pairs_{self.variant}.txt"
        self.files[pairs] = verified_digest(self.path / pairs, "")
        link_or_copy(self.path / pairs, folder / pairs)
        images = []
        for image in sorted((self.path / "images").glob("*.jpg")):
            if image.name not in UNUSED:
                link_or_copy(image, folder / "images" / image.name)
                images.append(SourceImage(f"images/{image.name}", image.stem.rpartition("_")[0]))
        return images

    def pairs(self, folder: Path, protocol: str) -> pd.DataFrame:
        """The published pairs: two lines each, with a flag above 0 for the same person.

        Genuine and impostor pairs are each split into ten consecutive runs, so that every
        fold has equally many of both, whatever the order of the file.

        Raises:
            ValueError: a line has the wrong format, or the two lines of a pair do not match.
        """
        path = folder / f"pairs_{self.variant}.txt"
        lines = list(read_users_lines(path).items())
        if len(lines) % 2:
            raise ValueError(f"{path}, line {lines[-1][0]}: {lines[-1][1]!r} has no second line: expected two per pair")
        rows = []
        for first, second in zip(lines[::2], lines[1::2]):
            (a, flag), (b, other) = _image_and_flag(path, *first), _image_and_flag(path, *second)
            if flag != other:
                raise ValueError(
                    f"{path}, lines {first[0]} and {second[0]}: {first[1]!r} and {second[1]!r} are not a valid pair: "
                    "expected the same flag twice"
                )
            rows.append((f"images/{a}", f"images/{b}", flag > 0))
        table = pd.DataFrame(rows, columns=["a", "b", "same"])
        return table.assign(fold=consecutive_folds(table.same))


def _image_and_flag(path: Path, number: int, line: str) -> tuple[str, int]:
    """Name and flag in a line."""
    fields = line.split()
    if len(fields) != 2 or not fields[1].isdecimal():
        raise ValueError(
            f"{path}, line {number}: {line!r} is not an image and a flag, 0 or a whole number above 0 for the same "
            "person, as in 'Anna_B_1.jpg 1'"
        )
    return fields[0], int(fields[1])
