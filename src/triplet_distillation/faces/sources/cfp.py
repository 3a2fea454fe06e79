"""Celebrities in Frontal-Profile (Sengupta et al. 2016), in its published layout."""

from pathlib import Path

import pandas as pd

from triplet_distillation.faces.sources import Downloads, Source, SourceImage, link_or_copy, verified_digest


class CFPSource(Source):
    """CFP: 500 people with 10 frontal and 4 profile images each; its license forbids automatic download.

    Its protocols are ``FP`` (frontal–profile) and ``FF`` (frontal–frontal).

    Args:
        path: folder with ``Data/Images`` and ``Protocol``.
    """

    protocols = ("FP", "FF")
    citation = "S. Sengupta et al., Frontal to Profile Face Verification in the Wild, WACV 2016"
    license = "for research; to be requested from its authors (cfpw.io)"

    def __init__(self, *, path: str):
        self.path = Path(path)
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return "CFP"

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Link images and protocols into ``folder``.

        Raises:
            FileNotFoundError: the folder does not have the published layout.
        """
        for kind in ("F", "P"):
            name = f"Protocol/Pair_list_{kind}.txt"
            self.files[name] = verified_digest(self.path / name, "")
            link_or_copy(self.path / name, folder / name)
        for split in sorted((self.path / "Protocol/Split").glob("*/*/*.txt")):
            link_or_copy(split, folder / split.relative_to(self.path))
        images = []
        for image in sorted((self.path / "Data/Images").glob("*/*/*.jpg")):
            relative = image.relative_to(self.path)
            link_or_copy(image, folder / relative)
            images.append(SourceImage(relative.as_posix(), image.parents[1].name))
        return images

    def pairs(self, folder: Path, protocol: str) -> pd.DataFrame:
        """A protocol's pairs, ``a, b`` as paths of images, in the folds of its splits.

        Raises:
            ValueError: a split refers to an image that is not in the list.
        """
        first, second = (self._listed(folder, kind) for kind in protocol)
        rows = []
        for split in sorted((folder / "Protocol/Split" / protocol).iterdir()):
            for name, same in (("same.txt", True), ("diff.txt", False)):
                for line in (split / name).read_text(encoding="utf-8").split():
                    i, j = line.split(",")
                    if i not in first or j not in second:
                        raise ValueError(f"{split / name}: {line!r} refers to an image that is not in Pair_list")
                    rows.append((first[i], second[j], same, int(split.name)))
        return pd.DataFrame(rows, columns=["a", "b", "same", "fold"])

    def _listed(self, folder: Path, kind: str) -> dict[str, str]:
        """Number to path, from the list of frontal (F) or profile (P) images."""
        lines = (folder / f"Protocol/Pair_list_{kind}.txt").read_text(encoding="utf-8").splitlines()
        pairs = (line.split(maxsplit=1) for line in lines if line.strip())
        return {number: path.strip().removeprefix("../") for number, path in pairs}
