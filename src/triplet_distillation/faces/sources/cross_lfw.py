"""CALFW (Zheng, Deng and Hu 2017) and CPLFW (Zheng and Deng 2018): LFW's people across age and across pose."""

from pathlib import Path

import pandas as pd

from triplet_distillation.faces.sources import Downloads, Photograph, checked_digest, link_or_copy

FOLDS = 10
UNUSED = {
    "Landon_Donovan_3jpg.jpg",
    "Leni_Bjorklund-2.jpg",
    "Leni_Bjorklund-3.jpg",
    "Mike_Montgomery_3.jip.jpg",
}
"""Photographs of CPLFW with broken names, which no pair uses."""


class Source:
    """CALFW or CPLFW in the published layout: ``images/`` and ``pairs_CALFW.txt`` or ``pairs_CPLFW.txt``.

    Args:
        path: the folder.
        variant: ``CALFW`` or ``CPLFW``.

    Raises:
        ValueError: another variant.
    """

    aligned = False
    citation = "T. Zheng and W. Deng, Cross-Age LFW (2017) and Cross-Pose LFW (2018), BUPT technical reports"
    licence = "for research; to be downloaded by hand from its authors (whdeng.cn)"

    def __init__(self, *, path: str, variant: str):
        if variant not in ("CALFW", "CPLFW"):
            raise ValueError(f"no variant {variant!r}: CALFW or CPLFW")
        self.path, self.variant = Path(path), variant
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"{self.variant}, the published photographs"

    def acquire(self, folder: Path, downloads: Downloads) -> list[Photograph]:
        """Link photographs and pairs below ``folder``.

        Raises:
            FileNotFoundError: the layout is another one.
        """
        pairs = f"pairs_{self.variant}.txt"
        self.files[pairs] = checked_digest(self.path / pairs, "")
        link_or_copy(self.path / pairs, folder / pairs)
        photographs = []
        for image in sorted((self.path / "images").glob("*.jpg")):
            if image.name not in UNUSED:
                link_or_copy(image, folder / "images" / image.name)
                photographs.append(Photograph(f"images/{image.name}", image.stem.rpartition("_")[0]))
        return photographs

    def pairs(self, folder: Path) -> pd.DataFrame:
        """The published pairs, two lines each, the flag above 0 for the same person.

        The genuine and the impostor pairs are each cut into ten runs, so that every fold has
        as many of both, whichever order the file has.

        Raises:
            ValueError: a line is none of the file's, or the two of a pair disagree.
        """
        lines = [
            line.split() for line in (folder / f"pairs_{self.variant}.txt").read_text().splitlines() if line.strip()
        ]
        rows = []
        for number in range(0, len(lines), 2):
            pair = lines[number : number + 2]
            if len(pair) != 2 or any(len(line) != 2 for line in pair) or pair[0][1] != pair[1][1]:
                raise ValueError(f"pairs_{self.variant}.txt, lines {number + 1} and {number + 2}: {pair} is no pair")
            rows.append((f"images/{pair[0][0]}", f"images/{pair[1][0]}", int(pair[0][1]) > 0))
        table = pd.DataFrame(rows, columns=["a", "b", "same"])
        kind = table.groupby("same").same
        table["fold"] = 1 + kind.cumcount() * FOLDS // kind.transform("size")
        return table
