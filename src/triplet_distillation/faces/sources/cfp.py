"""Celebrities in Frontal-Profile (Sengupta et al. 2016), in its published layout."""

from pathlib import Path

import pandas as pd

from triplet_distillation.faces.sources import Downloads, Source, SourceImage, verified_digest
from triplet_distillation.files import link_or_copy
from triplet_distillation.tabular import read_users_lines


class CFPSource(Source):
    """CFP: 500 people with 10 frontal and 4 profile images each; its license forbids automatic download.

    Its protocols are ``FP`` (frontal–profile) and ``FF`` (frontal–frontal).

    Args:
        path: folder with ``Data/Images`` and ``Protocol``.
    """

    protocols = ("FP", "FF")
    contents = "Protocol"
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
            ValueError: a line has the wrong format, or refers to an image that is not in the list.
        """
        first, second = (_listed(folder / f"Protocol/Pair_list_{kind}.txt") for kind in protocol)
        rows = []
        for split in sorted((folder / "Protocol/Split" / protocol).iterdir()):
            if not split.name.isdecimal():
                raise ValueError(f"{split} is not a fold's number: unpack {self.path / 'Protocol'} again")
            for name, same in (("same.txt", True), ("diff.txt", False)):
                named = _read_pairs(split / name, first, second)
                rows += [(a, b, same, int(split.name)) for a, b in named]
        return pd.DataFrame(rows, columns=["a", "b", "same", "fold"])


def _read_pairs(path: Path, first: dict[int, str], second: dict[int, str]) -> list[tuple[str, str]]:
    """Paths of the images in each line of a split, which has their numbers in the two lists."""
    pairs = []
    for number, line in read_users_lines(path).items():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 2 or not all(field.isdecimal() for field in fields):
            raise ValueError(f"{path}, line {number}: {line!r} is not two numbers of images, as in '1,2'")
        i, j = map(int, fields)
        if i not in first or j not in second:
            raise ValueError(
                f"{path}, line {number}: {line!r} refers to an image that is not in Pair_list: download both files "
                "again"
            )
        pairs.append((first[i], second[j]))
    return pairs


def _listed(path: Path) -> dict[int, str]:
    """Number to path, from the list of frontal (F) or profile (P) images."""
    images: dict[int, str] = {}
    for number, line in read_users_lines(path).items():
        fields = line.split(maxsplit=1)
        if len(fields) != 2 or not fields[0].isdecimal():
            raise ValueError(
                f"{path}, line {number}: {line!r} is not a number and a path, as in "
                "'1 ../Data/Images/001/frontal/01.jpg'"
            )
        if (index := int(fields[0])) in images:
            raise ValueError(f"{path}, line {number}: {line!r} has the number of an earlier line: download it again")
        images[index] = fields[1].strip().removeprefix("../")
    return images
