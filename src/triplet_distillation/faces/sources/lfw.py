"""Labeled Faces in the Wild (Huang et al. 2007): 13,233 images of 5,749 people, with the pairs of View 2."""

import itertools
from pathlib import Path

import pandas as pd

from triplet_distillation.faces.archive import extract
from triplet_distillation.faces.download import fetch
from triplet_distillation.faces.sources import Downloads, Source, SourceImage, verified_digest
from triplet_distillation.tabular import read_users_lines

FIGSHARE = "https://ndownloader.figshare.com/files"
ARCHIVES = {
    "original": ("lfw.tgz", f"{FIGSHARE}/5976018", "055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0"),
    "funneled": (
        "lfw-funneled.tgz",
        f"{FIGSHARE}/5976015",
        "b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
    ),
}
PAIRS = ("pairs.txt", f"{FIGSHARE}/5976006", "ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592")


class LFWSource(Source):
    """LFW in one of its alignments; results differ between them, so the origin names the variant.

    Args:
        variant: ``original``, ``funneled`` (both are downloaded) or ``deepfunneled`` (needs ``archive``).
        archive: path of an archive in the published layout, instead of a download.
        archive_sha256: its expected hex digest; empty skips the comparison.
        pairs: path of ``pairs.txt``, instead of a download.

    Raises:
        ValueError: unknown variant, or deepfunneled without an archive.
    """

    protocols = ("View 2",)
    real_names = True
    citation = "G. B. Huang et al., Labeled Faces in the Wild, Technical Report 07-49, UMass Amherst, 2007"
    license = "for research; the rights to the images belong to their owners"

    def __init__(self, *, variant: str = "funneled", archive: str = "", archive_sha256: str = "", pairs: str = ""):
        if variant not in (*ARCHIVES, "deepfunneled"):
            raise ValueError(f"LFW has no variant {variant!r}: choose original, funneled or deepfunneled")
        if variant not in ARCHIVES and not archive:
            raise ValueError("LFW's deepfunneled archive has no known URL: set archive to its path")
        self.variant, self.archive, self.archive_sha256, self.pairs_path = variant, archive, archive_sha256, pairs
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"LFW, {self.variant}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Extract the archive and add ``pairs.txt``.

        Raises:
            FileNotFoundError: a path in the settings does not exist.
            ValueError: the archive has a different checksum or layout.
        """
        archive = self._local(self.archive, self.archive_sha256) or self._fetched(ARCHIVES[self.variant], downloads)
        extract(archive, folder / "extracted")
        pairs = self._local(self.pairs_path, "") or self._fetched(PAIRS, downloads)
        (folder / "pairs.txt").write_bytes(pairs.read_bytes())
        images = sorted((folder / "extracted").glob("*/*/*.jpg"))
        if not images:
            raise ValueError(f"{archive} has no images such as <folder>/<name>/<name>_0001.jpg: is it LFW?")
        return [SourceImage(path.relative_to(folder).as_posix(), path.parent.name) for path in images]

    def _local(self, path: str, sha256: str) -> Path | None:
        if not path:
            return None
        self.files[Path(path).name] = verified_digest(Path(path), sha256)
        return Path(path)

    def _fetched(self, known: tuple[str, str, str], downloads: Downloads) -> Path:
        name, url, sha256 = known
        self.files[name] = sha256
        return fetch([url], downloads.folder / name, sha256, mirror=downloads.mirror)

    def pairs(self, folder: Path, protocol: str) -> pd.DataFrame:
        """View 2's pairs from ``pairs.txt``: ``a, b`` (paths of images), ``same``, ``fold`` (1 … 10).

        Raises:
            ValueError: a line has the wrong format; the message has its number.
        """
        return self.read_pairs(folder / "pairs.txt", folder)

    def read_pairs(self, path: Path, folder: Path) -> pd.DataFrame:
        """The user's pairs, in the format of LFW's own ``pairs.txt`` or as :meth:`.Source.read_pairs` takes them."""
        if path.suffix != ".txt":
            return super().read_pairs(path, folder)
        top = next(path for path in sorted((folder / "extracted").iterdir()) if path.is_dir()).name
        lines = read_users_lines(path)
        pairs_of_fold = _pairs_of_fold(path, lines)
        rows = []
        for place, (number, line) in enumerate(itertools.islice(lines.items(), 1, None)):
            words = line.split()
            if len(words) not in (3, 4) or not all(word.isdecimal() for word in (words[1], words[-1])):
                raise ValueError(
                    f"{path}, line {number}: {line!r} is not a valid pair: expected a name and two numbers of images, "
                    "as in 'Anna_B 1 2', or twice a name and a number, as in 'Anna_B 1 Eve 1'"
                )
            same = len(words) == 3
            first, second = ((words[0], words[1]), (words[0], words[2])) if same else (words[:2], words[2:])
            a, b = (f"extracted/{top}/{name}/{name}_{int(index):04d}.jpg" for name, index in (first, second))
            rows.append((a, b, same, 1 + place // pairs_of_fold))
        return pd.DataFrame(rows, columns=["a", "b", "same", "fold"], index=list(lines)[1:])


def _pairs_of_fold(path: Path, lines: dict[int, str]) -> int:
    """Number of pairs in a fold, from the first line: of folds, and of pairs of each kind in one."""
    number, line = next(iter(lines.items()), (1, ""))
    words = line.split()
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        raise ValueError(
            f"{path}, line {number}: expected two numbers, of folds and of pairs of each kind in one, as in '10 300', "
            f"but it is {line!r}"
        )
    folds, each = map(int, words)
    if len(lines) - 1 != 2 * folds * each:
        raise ValueError(
            f"{path} has {len(lines) - 1} pairs, but line {number} says {folds} folds with {each} genuine and {each} "
            f"impostor pairs each, which are {2 * folds * each}: correct line {number}, or complete the file"
        )
    return 2 * each
