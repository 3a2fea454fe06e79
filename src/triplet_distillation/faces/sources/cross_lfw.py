"""CALFW (Zheng, Deng and Hu 2017) and CPLFW (Zheng and Deng 2018): LFW's people across age and across pose."""

from pathlib import Path

import pandas as pd

from triplet_distillation.faces.sources import (
    Downloads,
    Source,
    SourceImage,
    consecutive_folds,
    link_or_copy,
    verified_digest,
)

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
        lines = [
            line.split()
            for line in (folder / f"pairs_{self.variant}.txt").read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
        rows = []
        for number in range(0, len(lines), 2):
            pair = lines[number : number + 2]
            if len(pair) != 2 or any(len(line) != 2 for line in pair) or pair[0][1] != pair[1][1]:
                raise ValueError(
                    f"pairs_{self.variant}.txt, lines {number + 1} and {number + 2}: {pair} is not a valid pair"
                )
            rows.append((f"images/{pair[0][0]}", f"images/{pair[1][0]}", int(pair[0][1]) > 0))
        table = pd.DataFrame(rows, columns=["a", "b", "same"])
        return table.assign(fold=consecutive_folds(table.same))
