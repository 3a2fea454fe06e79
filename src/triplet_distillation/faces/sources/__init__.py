"""Data sources, one file each: a class derived from :class:`Source`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from triplet_distillation.faces.detectors import Detection
from triplet_distillation.provenance import file_digest
from triplet_distillation.tabular import read_users_table


class SourceImage(NamedTuple):
    """An image as the source has it: ``path`` relative to the data set's folder, with forward slashes.

    ``detection``: the face in it, where the data set itself says so (:meth:`Source.detections`).
    """

    path: str
    identity: str
    detection: Detection | None = None


class EncodedFace(NamedTuple):
    """A face that the source has already aligned: encoded 112×112 image, identity, and name within the source."""

    content: bytes
    identity: str
    name: str


class Downloads(NamedTuple):
    """Folder for the downloads of all studies, and a local folder that is searched first."""

    folder: Path
    mirror: str | None


class Source:
    """Base class; settings from the configuration are keyword-only arguments of ``__init__``.

    ``aligned``: whether its faces are already aligned; ``real_names``: whether its identities are the names of people,
    so that they can be compared with those of other data sets; ``knows_identities``: whether images of one person
    have one identity (a verification pack does not say so); ``protocols``: names of its published protocols, the
    default first; ``contents``: a pattern that something in the folder at its setting ``path`` must match, empty if
    that is a file, ``*`` if it may be either; ``template_protocols``: those of them that compare templates instead of
    images; ``origin``: a description for readers; ``files``: archives and packs used, name to SHA-256, possibly empty;
    ``passed_over``: of the files that :meth:`acquire` found but did not take, reason to ``count`` and ``first``, an
    example.
    """

    aligned = False
    real_names = False
    knows_identities = True
    protocols: tuple[str, ...] = ()
    contents = "*"
    template_protocols: tuple[str, ...] = ()
    citation: str
    license: str
    files: dict[str, str]
    passed_over: Mapping[str, dict] = {}

    @property
    def origin(self) -> str:
        raise NotImplementedError

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Put the images into ``folder`` and list them; a source of aligned faces lists its packs."""
        raise NotImplementedError

    def faces(self, folder: Path) -> Iterable[EncodedFace]:
        """The faces of a source that is ``aligned``, from what :meth:`acquire` put into ``folder``."""
        raise NotImplementedError

    def detections(self, folder: Path) -> dict[str, Detection]:
        """Image (``path`` of a SourceImage) to the face that the data set itself gives for it, instead of a detector's.

        Empty unless the data set is published with landmarks.
        """
        return {}

    def pairs(self, folder: Path, protocol: str) -> pd.DataFrame:
        """A published protocol: ``a, b`` (``path`` of a SourceImage, ``name`` of an EncodedFace), ``same, fold``.

        Of a protocol that compares templates, ``a, b`` are their numbers, and there is one fold, 0.
        """
        raise NotImplementedError

    def read_pairs(self, path: Path, folder: Path) -> pd.DataFrame:
        """The user's own pairs of this data set, as :meth:`pairs` gives published ones, from a CSV file.

        Its columns are ``a, b`` (as in :meth:`pairs`), ``same`` (1 or 0, True or False), and ``fold``, a number;
        without ``fold``, the pairs are divided by :func:`consecutive_folds`. The index is the number of the line.

        Raises:
            ValueError: a column is missing, or a line has other values; the message has its number.
        """
        return read_csv_pairs(path)

    def templates(self, folder: Path, protocol: str) -> pd.DataFrame:
        """Faces of the templates: ``face`` (``path`` of a SourceImage), ``template, media`` (numbers)."""
        raise NotImplementedError


FOLDS = 10
"""Into how many folds pairs are divided that come without."""


def consecutive_folds(same: pd.Series) -> pd.Series:
    """Folds from 1: genuine and impostor pairs are each divided in their order, so that all folds have equally many.

    There are ten, or as many as there are pairs of the rarer kind, so that each fold has both.
    """
    kind = same.groupby(same)
    sizes = kind.transform("size")
    return 1 + kind.cumcount() * min(FOLDS, sizes.min()) // sizes


SAME = {"1": True, "0": False, "1.0": True, "0.0": False}
SAME |= {
    spelling: value for value in (True, False) for spelling in (str(value), str(value).lower(), str(value).upper())
}
"""The column ``same`` as people and programs write it."""


def read_csv_pairs(path: Path) -> pd.DataFrame:
    """:meth:`Source.read_pairs` of a CSV file."""
    text = read_users_table(path, ("a", "b", "same"))
    table = text[["a", "b"]].assign(same=_allowed(path, text.same, SAME))
    if (alone := text.a == text.b).any():
        raise ValueError(f"{path}, line {text.index[alone][0]}: a and b are the same image, {text.a[alone].iloc[0]!r}")
    if "fold" not in text:
        return table.assign(fold=consecutive_folds(table.same))
    numbers = {value: int(value) for value in text.fold.unique() if value.isascii() and value.isdigit()}
    return table.assign(fold=_allowed(path, text.fold, numbers))


def _allowed(path: Path, column: pd.Series, values: dict) -> pd.Series:
    """The column's values, by their text."""
    wrong = column[~column.isin(list(values))]
    if len(wrong):
        kind = "1 or 0" if column.name == "same" else "a whole number"
        raise ValueError(f"{path}, line {wrong.index[0]}: {column.name} is {wrong.iloc[0]!r}, not {kind}")
    return column.map(values)


def verified_digest(path: Path, expected: str) -> str:
    """SHA-256 of a local file.

    Args:
        expected: what it must be; empty skips the comparison.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it has a different checksum.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file: correct its path in datasets (relative to the working directory)"
        )
    found = file_digest(path)
    if expected and found != expected:
        raise ValueError(
            f"{path} has the SHA-256 {found}, not {expected}: it may be another version of the file; download it again"
        )
    return found
