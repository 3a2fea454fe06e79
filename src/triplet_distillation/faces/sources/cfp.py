"""Celebrities in Frontal-Profile (Sengupta et al. 2016), in its published layout."""

from pathlib import Path

import pandas as pd

from triplet_distillation.faces.sources import Downloads, Photograph, checked_digest, link_or_copy


class Source:
    """CFP's 500 people × 10 frontal and 4 profile photographs; its licence forbids automatic download.

    Args:
        path: folder with ``Data/Images`` and ``Protocol`` in it.
        protocol: ``FF`` (frontal–frontal) or ``FP`` (frontal–profile).

    Raises:
        ValueError: another protocol.
    """

    aligned = False
    citation = "S. Sengupta et al., Frontal to Profile Face Verification in the Wild, WACV 2016"
    licence = "for research; to be requested from its authors (cfpw.io)"

    def __init__(self, *, path: str, protocol: str = "FP"):
        if protocol not in ("FF", "FP"):
            raise ValueError(f"CFP has no protocol {protocol!r}: FF or FP")
        self.path, self.protocol = Path(path), protocol
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"CFP, protocol {self.protocol}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[Photograph]:
        """Link photographs and protocol below ``folder``.

        Raises:
            FileNotFoundError: the layout is another one.
        """
        for kind in set(self.protocol):
            name = f"Protocol/Pair_list_{kind}.txt"
            self.files[name] = checked_digest(self.path / name, "")
            link_or_copy(self.path / name, folder / name)
        for split in sorted((self.path / "Protocol/Split" / self.protocol).glob("*/*.txt")):
            link_or_copy(split, folder / split.relative_to(self.path))
        photographs = []
        for image in sorted((self.path / "Data/Images").glob("*/*/*.jpg")):
            relative = image.relative_to(self.path)
            link_or_copy(image, folder / relative)
            photographs.append(Photograph(relative.as_posix(), image.parents[1].name))
        return photographs

    def pairs(self, folder: Path) -> pd.DataFrame:
        """The protocol's pairs, ``a, b`` as paths of photographs, in the folds of its splits.

        Raises:
            ValueError: a split names a photograph that the list does not have.
        """
        first, second = (self._listed(folder, kind) for kind in self.protocol)
        rows = []
        for split in sorted((folder / "Protocol/Split" / self.protocol).iterdir()):
            for name, same in (("same.txt", True), ("diff.txt", False)):
                for line in (split / name).read_text().split():
                    i, j = line.split(",")
                    if i not in first or j not in second:
                        raise ValueError(f"{split / name}: {line!r} names a photograph that Pair_list does not have")
                    rows.append((first[i], second[j], same, int(split.name)))
        return pd.DataFrame(rows, columns=["a", "b", "same", "fold"])

    def _listed(self, folder: Path, kind: str) -> dict[str, str]:
        """Number to path, of the list of frontal (F) or profile (P) photographs."""
        lines = (folder / f"Protocol/Pair_list_{kind}.txt").read_text().splitlines()
        pairs = (line.split(maxsplit=1) for line in lines if line.strip())
        return {number: path.strip().removeprefix("../") for number, path in pairs}
