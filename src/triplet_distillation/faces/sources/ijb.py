"""IARPA Janus Benchmark B (Whitelam et al. 2017) and C (Maze et al. 2018), as InsightFace publishes them."""

import csv
import itertools
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from triplet_distillation.faces.detectors import Detection
from triplet_distillation.faces.sources import Downloads, Source, SourceImage, verified_digest
from triplet_distillation.files import link_or_copy
from triplet_distillation.logs import progress
from triplet_distillation.tabular import read_users_lines

PREFIXES = {"IJB-B": "ijbb", "IJB-C": "ijbc"}
IMAGES = "loose_crop"
FACES, PAIRS, LANDMARKS = "face_tid_mid", "template_pair_label", "name_5pts_score"
COORDINATES = ["x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4", "x5", "y5"]
COLUMNS: dict[str, dict[str, type]] = {
    FACES: {"face": str, "template": int, "media": int},
    PAIRS: {"a": int, "b": int, "label": int},
    LANDMARKS: {"face": str} | dict.fromkeys([*COORDINATES, "score"], float),
}
"""Columns of the three text files, and their types."""


class IJBSource(Source):
    """IJB-B or IJB-C: verification of templates, which are sets of images and video frames of one person.

    The published files do not name people. Two templates show the same person if genuine pairs connect them, directly
    or through other templates; an identity is ``template`` with the smallest number of those templates.

    Args:
        path: the folder, with ``loose_crop/*.jpg`` and the text files ``meta/ijbc_*.txt`` (IJB-B: ``meta/ijbb_*.txt``).
        variant: ``IJB-B`` or ``IJB-C``.

    Raises:
        ValueError: unknown variant.
    """

    protocols = ("1:1",)
    template_protocols = ("1:1",)
    contents = "loose_crop"
    citation = (
        "B. Maze et al., IARPA Janus Benchmark C: Face Dataset and Protocol, ICB 2018; "
        "C. Whitelam et al., IARPA Janus Benchmark-B Face Dataset, CVPRW 2017"
    )
    license = "for research; to be requested from NIST"

    def __init__(self, *, path: str, variant: Literal["IJB-B", "IJB-C"] = "IJB-C"):
        if variant not in PREFIXES:
            raise ValueError(f"unknown variant {variant!r}: choose IJB-B or IJB-C")
        self.path, self.variant = Path(path), variant
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"{self.variant}, loose crops and landmarks published by InsightFace"

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Link the text files and the images of all templates into ``folder``.

        An image that is in several templates is listed once, with the identity of the first.

        Raises:
            FileNotFoundError: a text file or an image is missing.
            ValueError: a line of a text file is invalid, an image has no landmarks, or a pair contains a template
                without faces.
        """
        for kind in COLUMNS:
            name = self._text_file(kind)
            self.files[name] = verified_digest(self.path / name, "")
            link_or_copy(self.path / name, folder / name)
        faces, pairs = self._read(self.path, FACES), self._read_pairs(self.path)
        self._check_landmarks(faces)
        self._check_templates(pairs, faces)
        self._link_images(faces, folder)
        names = identities(faces.template.to_numpy(), pairs[pairs.same])
        faces = faces.drop_duplicates("face")
        return [SourceImage(f"{IMAGES}/{face}", name) for face, name in zip(faces.face, faces.template.map(names))]

    def detections(self, folder: Path) -> dict[str, Detection]:
        """The published landmarks of each image.

        The box is the bounding box of the landmarks, since none is published; alignment does not use it.

        Raises:
            ValueError: a line has the wrong format.
        """
        table = self._read(folder, LANDMARKS)
        landmarks = table[COORDINATES].to_numpy().reshape(-1, 5, 2)
        boxes = np.hstack([landmarks.min(axis=1), landmarks.max(axis=1)])
        found = map(Detection, boxes, landmarks, table.score.tolist())
        return dict(zip(f"{IMAGES}/" + table.face, found))

    def pairs(self, folder: Path, protocol: str) -> pd.DataFrame:
        """The pairs of templates of 1:1 verification, the only protocol: ``a, b, same, fold``.

        Raises:
            ValueError: a line has the wrong format.
        """
        return self._read_pairs(folder).assign(fold=0)

    def templates(self, folder: Path, protocol: str) -> pd.DataFrame:
        """Faces of the templates, ``face, template, media``: one row per face and template that contains it.

        Raises:
            ValueError: a line has the wrong format.
        """
        faces = self._read(folder, FACES)
        return faces.assign(face=f"{IMAGES}/" + faces.face)

    def _text_file(self, kind: str) -> str:
        return f"meta/{PREFIXES[self.variant]}_{kind}.txt"

    def _read(self, root: Path, kind: str) -> pd.DataFrame:
        return read_columns(root / self._text_file(kind), COLUMNS[kind])

    def _read_pairs(self, root: Path) -> pd.DataFrame:
        """Pairs of templates: ``a, b`` (numbers), ``same`` (bool)."""
        pairs = self._read(root, PAIRS)
        problem = "the label must be 0 or 1; download the file again"
        _reject(root / self._text_file(PAIRS), ~pairs.label.isin([0, 1]), problem)
        return pd.DataFrame({"a": pairs.a, "b": pairs.b, "same": pairs.label == 1})

    def _check_landmarks(self, faces: pd.DataFrame) -> None:
        landmarks = self._text_file(LANDMARKS)
        missing = ~faces.face.isin(self._read(self.path, LANDMARKS).face)
        problem = f"{landmarks} has no landmarks for this image; download both files again"
        _reject(self.path / self._text_file(FACES), missing, problem)

    def _check_templates(self, pairs: pd.DataFrame, faces: pd.DataFrame) -> None:
        known = pd.Index(faces.template.unique())
        problem = f"{self._text_file(FACES)} has no faces for one of the templates; download both files again"
        _reject(self.path / self._text_file(PAIRS), ~(pairs.a.isin(known) & pairs.b.isin(known)), problem)

    def _link_images(self, faces: pd.DataFrame, folder: Path) -> None:
        first = faces.drop_duplicates("face").face
        for row, face in progress(first.items(), "link", "image", total=len(first)):
            image = self.path / IMAGES / face
            if not image.is_file():
                line = _describe_line(self.path / self._text_file(FACES), row)
                raise FileNotFoundError(f"{line}: {image} is missing; unpack all images of {self.variant} again")
            link_or_copy(image, folder / IMAGES / face)


def identities(templates: np.ndarray, genuine: pd.DataFrame) -> pd.Series:
    """Name of the person in each template: ``template`` with the smallest number in its connected component.

    Args:
        templates: their numbers, in any order, possibly repeated, [N].
        genuine: pairs of templates of the same person: ``a, b``, all of them in ``templates``.

    Returns:
        One name per template, indexed by its number.
    """
    numbers = pd.Index(np.unique(templates))
    a, b = numbers.get_indexer(genuine.a), numbers.get_indexer(genuine.b)
    links = coo_array((np.ones(len(a)), (a, b)), (len(numbers), len(numbers)))
    component = connected_components(links, directed=False)[1]
    smallest = pd.Series(numbers, index=numbers).groupby(component).transform("min")
    return "template " + smallest.astype(str)


def read_columns(path: Path, columns: dict[str, type]) -> pd.DataFrame:
    """A text file with columns separated by blanks, one row per line that is not empty.

    Args:
        columns: their names, and ``str``, ``int`` or ``float``; floats must be finite.

    Raises:
        ValueError: the file has no rows, or a line has another number of columns or another type.
    """
    try:
        table = pd.read_csv(
            path,
            sep=r"\s+",
            names=list(columns),
            dtype={**columns},
            engine="c",
            quoting=csv.QUOTE_NONE,
            na_filter=False,
        )
    except (ValueError, OverflowError) as error:
        if isinstance(error, UnicodeDecodeError):
            read_users_lines(path)  # raises an error that names the line
        raise ValueError(_first_invalid_line(path, columns) or f"{path}: {error}; download the file again") from error
    if table.empty:
        raise ValueError(f"{path} is empty: download it again")
    # pandas takes surplus columns of the first line as an index, and reads 1e999 as infinity
    is_valid = isinstance(table.index, pd.RangeIndex) and np.isfinite(table.select_dtypes("number")).all(axis=None)
    if not is_valid:
        raise ValueError(_first_invalid_line(path, columns))
    return table


def _first_invalid_line(path: Path, columns: dict[str, type]) -> str:
    """What is wrong with the first invalid line of a file; empty if all are valid."""
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip() and not _is_valid(line.split(), columns):
                expected = f"{len(columns)} columns ({' '.join(columns)})"
                return f"{path}, line {number}: {line.strip()!r} does not have {expected}; download the file again"
    return ""


def _is_valid(fields: list[str], columns: dict[str, type]) -> bool:
    """Whether the fields of a line have the types of the columns."""
    try:
        values = [kind(field) for field, kind in zip(fields, columns.values(), strict=True)]
    except ValueError:
        return False
    return all(math.isfinite(value) for value in values if not isinstance(value, str))


def _reject(path: Path, is_invalid: pd.Series, problem: str) -> None:
    """Raise a ValueError that describes the first invalid row of a file, if there is one."""
    if is_invalid.any():
        raise ValueError(f"{_describe_line(path, int(np.argmax(is_invalid)))}: {problem}")


def _describe_line(path: Path, row: int) -> str:
    """The file, number and text of the line from which ``row`` (from 0) was read; empty lines are not rows."""
    with path.open(encoding="utf-8-sig") as lines:
        rows = ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())
        number, text = next(itertools.islice(rows, row, None))
    return f"{path}, line {number}, {text!r}"
