"""InsightFace's packs, read without mxnet: training packs (RecordIO) and verification packs (``.bin``).

Both contain aligned, encoded 112×112 faces, which are passed on byte for byte.
"""

import importlib
import io
import os
import pickle
import struct
import weakref
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.files import atomic_write

PACK_FILES = ("train.rec", "train.idx")
"""What is read of a training pack."""
MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
HEADER = struct.Struct("<IfQQ")
"""flag, label, id, id2 of a record's payload; if flag > 0, that many float32 labels follow."""
EXACT = 1 << 24
"""The whole numbers below this one are exact in float32; larger ones, as numbers of records in a label, are rounded."""


class PackError(ValueError):
    """A file that is damaged or not a pack; the message names the file and the record."""


class Record(NamedTuple):
    """``labels``: one or more; ``content``: the encoded image, empty for an identity and for the first record."""

    labels: tuple[float, ...]
    content: bytes


class TrainingPack:
    """``train.rec`` with ``train.idx``: record i is read without reading the others.

    Two kinds of packs are read. InsightFace's own begin with a record that says which records are images and which
    are the ranges of identities. Those that mxnet's ``im2rec`` makes have images only, under any numbers.

    Args:
        folder: with the two files; others, such as ``property``, are not used.

    Attributes:
        images: numbers of the records that are images.
        identities: numbers of the records that are ranges of identities; empty if the pack has none.

    Raises:
        PackError: a file is missing, or index and records do not match.
    """

    images: range | np.ndarray
    identities: range

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        for name in PACK_FILES:
            if not (self.folder / name).is_file():
                raise PackError(f"{self.folder / name} is missing: a training pack has {' and '.join(PACK_FILES)}")
        self._path = self.folder / "train.rec"
        self._size = self._path.stat().st_size
        if not self._size:
            raise PackError(f"{self._path} is empty")
        # Not mapped: mapped pages count as memory of the process, up to the size of the pack.
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self._numbers, self._offsets = self._read_index(self.folder / "train.idx")
        bounds = self._bounds()
        self.images = range(1, bounds[0]) if bounds else self._numbers
        self.identities = range(*bounds) if bounds else range(0)
        if bounds and np.searchsorted(self._numbers, bounds[1]) < bounds[1]:
            raise PackError(
                f"{self.folder / 'train.idx'} lists {len(self._numbers)} records, but record 0 implies {bounds[1]}: "
                "index and records are from different packs, or the index is truncated"
            )

    def _read_index(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the records, ascending, and their offsets."""
        try:
            table = np.loadtxt(path, dtype=np.int64, ndmin=2).reshape(-1, 2)
        except ValueError as error:
            raise PackError(f"{path} is not a table of record numbers and offsets ({error})") from error
        numbers, first = np.unique(table[:, 0], return_index=True)
        if not len(table) or len(numbers) < len(table) or numbers[0] < 0:
            raise PackError(f"{path}: record numbers must be whole numbers from 0, each once, and there must be one")
        return numbers, table[first, 1]

    def _bounds(self) -> tuple[int, int] | None:
        """Where the records of identities start and stop, from record 0; None if that is an image."""
        if self._numbers[0] != 0:
            return None
        labels, content = self.record(0)
        if len(labels) != 2 or content:
            return None
        start, stop = (self._whole(0, label) for label in labels)
        return (start, stop) if stop < EXACT else self._exact(start, stop)

    def _exact(self, start: int, stop: int) -> tuple[int, int]:
        """The bounds in record 0, from the records themselves: near the rounded numbers, by bisection.

        The last record of the index is the last identity, and every record from the first identity on is one.
        """
        number = len(self._numbers)
        if abs(number - stop) > _rounding(stop):
            return start, stop  # index and records are from different packs, as the error about them says
        first, last = max(1, start - _rounding(start)), min(number, start + _rounding(start))
        while first < last:
            middle = (first + last) // 2
            first, last = (first, middle) if self._is_identity(middle) else (middle + 1, last)
        if (first < number and not self._is_identity(first)) or (first > 1 and self._is_identity(first - 1)):
            raise PackError(
                f"{self._path}: record 0 has {start} for the first identity, which float32 rounds, but near it, the "
                "records are not images followed by identities: the pack is damaged"
            )
        return first, number

    def _is_identity(self, number: int) -> bool:
        labels, content = self.record(number)
        return len(labels) == 2 and not content

    def record(self, number: int) -> Record:
        """Record ``number``, as the index counts them.

        Raises:
            PackError: the record is not in the index, is truncated, or does not start at its offset in the index.
        """
        payload = b"".join(self._parts(number))
        if len(payload) < HEADER.size:
            raise PackError(f"{self._path}: record {number} is too short for its header")
        flag, label, _, _ = HEADER.unpack_from(payload)
        if not flag:
            return Record((label,), payload[HEADER.size :])
        end = HEADER.size + 4 * flag
        if len(payload) < end:
            raise PackError(f"{self._path}: record {number} claims {flag} labels but is too short for them")
        return Record(struct.unpack_from(f"<{flag}f", payload, HEADER.size), payload[end:])

    def _parts(self, number: int) -> Iterator[bytes]:
        """A record's payload; if it contains the magic number, it is split there and stored without it."""
        place = np.searchsorted(self._numbers, number)
        if place == len(self._numbers) or self._numbers[place] != number:
            raise PackError(f"{self.folder / 'train.idx'} has no record {number}")
        position, kind = int(self._offsets[place]), None
        while kind not in (0, 3):
            if position < 0 or position + 8 > self._size:
                raise PackError(f"{self._path} ends before record {number} (offset {position}): it is truncated")
            magic, packed = struct.unpack("<II", os.pread(self._descriptor, 8, position))
            if magic != MAGIC:
                raise PackError(
                    f"{self._path}: no record starts at offset {position}, where train.idx has record {number}: "
                    "the two files are from different packs"
                )
            kind, length = packed >> 29, packed & ((1 << 29) - 1)
            if position + 8 + length > self._size:
                raise PackError(f"{self._path} ends within record {number} (offset {position}): it is truncated")
            if kind in (2, 3):
                yield MAGIC_BYTES
            yield os.pread(self._descriptor, length, position + 8)
            position += 8 + (length + 3) // 4 * 4

    def identity_ranges(self) -> list[range]:
        """For each identity, the records of its images.

        Raises:
            PackError: they are not a valid range of records, or they are rounded.
        """
        if self.identities.start > EXACT:
            raise PackError(f"{self._path} has more than {EXACT:,} images: float32 rounds the ranges of its identities")
        ranges = []
        for number in self.identities:
            labels = [self._whole(number, label) for label in self.record(number).labels]
            if len(labels) != 2 or not 1 <= labels[0] <= labels[1] <= self.identities.start:
                raise PackError(f"{self._path}: identity record {number} has {labels}, not a valid range of records")
            ranges.append(range(*labels))
        return ranges

    def face(self, number: int) -> tuple[int, bytes]:
        """Label and encoded image of record ``number``; of several labels, the first is the identity's.

        Raises:
            PackError: as for :meth:`record`, or the label is not a whole number from 0.
        """
        record = self.record(number)
        return self._whole(number, record.labels[0]), record.content

    def _whole(self, number: int, label: float) -> int:
        """A label of record ``number``, which must be a whole number from 0."""
        if not (label >= 0 and float(label).is_integer()):
            raise PackError(f"{self._path}: record {number} has the label {label:g}, not a whole number from 0")
        return int(label)


def _rounding(bound: int) -> int:
    """By how much float32 rounds a number of that size, at most."""
    return 2 * bound // EXACT


def check_number_of_records(images: int, identities: int) -> None:
    """Whether a training pack can hold as many images and identities.

    Raises:
        ValueError: there are so many that its labels, which are float32, would round the numbers of records.
    """
    if 1 + images + identities > EXACT:
        raise ValueError(
            f"a training pack of {images:,} images and {identities:,} identities would have more than {EXACT:,} "
            "records, whose numbers its labels (float32) round, so that no loader finds the identities: hold out more "
            "identities, or use the face store (Arrow), which has no such limit"
        )


def write_training_pack(folder: str | Path, faces: Iterable[tuple[int, bytes]]) -> None:
    """Write ``train.rec``, ``train.idx`` and ``property`` as InsightFace's loaders and mxnet read them.

    Args:
        folder: is created.
        faces: (label from 0, encoded image), grouped by label.

    Raises:
        ValueError: the images are not grouped by label, there are none, or more than a pack can hold
            (:func:`check_number_of_records`).
    """
    folder = Path(folder)
    starts, offsets = array("q"), array("q")
    with atomic_write(folder / "train.rec") as temporary, temporary.open("wb") as output:
        offsets.append(output.tell())
        output.write(_encode_record((0.0, 0.0), 0, b""))  # replaced at the end, when its bounds are known
        for number, (label, image) in enumerate(faces, start=1):
            if label == len(starts):
                starts.append(number)
            if label != len(starts) - 1:
                raise ValueError(
                    f"face {number - 1} has label {label} after {len(starts) - 1}: sort the faces by label"
                )
            check_number_of_records(number, len(starts))
            offsets.append(output.tell())
            output.write(_encode_record((float(label),), number, image))
        if not starts:
            raise ValueError(f"there are no faces to write to {folder}")
        first_identity = len(offsets)
        for label, start in enumerate(starts):
            stop = starts[label + 1] if label + 1 < len(starts) else first_identity
            number = len(offsets)
            offsets.append(output.tell())
            output.write(_encode_record((float(start), float(stop)), number, b""))
        output.seek(0)
        output.write(_encode_record((float(first_identity), float(len(offsets))), 0, b""))
    with atomic_write(folder / "train.idx") as temporary, temporary.open("w", encoding="ascii") as output:
        output.writelines(f"{number}\t{offset}\n" for number, offset in enumerate(offsets))
    with atomic_write(folder / "property") as temporary:
        temporary.write_text(f"{len(starts)},112,112\n", encoding="ascii")


def _encode_record(labels: tuple[float, ...], number: int, content: bytes) -> bytes:
    if len(labels) == 1:
        payload = HEADER.pack(0, labels[0], number, 0) + content
    else:
        payload = HEADER.pack(len(labels), 0.0, number, 0) + struct.pack(f"<{len(labels)}f", *labels) + content
    parts = _split_at_magic(payload)
    encoded = b""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        kind = 0 if len(parts) == 1 else 3 if last else 2 if index else 1
        encoded += struct.pack("<II", MAGIC, kind << 29 | len(part)) + part + bytes(-len(part) % 4)
    return encoded


def _split_at_magic(payload: bytes) -> list[bytes]:
    """Split at every magic number at a multiple of four, and remove it."""
    parts, start, position = [], 0, payload.find(MAGIC_BYTES)
    while position >= 0:
        if position % 4 == 0:
            parts.append(payload[start:position])
            start = position + 4
            position = payload.find(MAGIC_BYTES, start)
        else:
            position = payload.find(MAGIC_BYTES, position + 1)
    return [*parts, payload[start:]]


PLAIN_DATA = {
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
}
"""What a pickle of NumPy arrays and scalars needs to import."""


class _RestrictedUnpickler(pickle.Unpickler):
    """Lists, tuples, bytes, booleans, and NumPy arrays of bytes and booleans; anything else is rejected by name."""

    def find_class(self, module, name):
        if (module, name) not in PLAIN_DATA:
            raise pickle.UnpicklingError(f"it imports {module}.{name}, which a verification pack never needs")
        if module.startswith("numpy") and "multiarray" in module:
            return getattr(importlib.import_module("numpy._core.multiarray"), name)
        return super().find_class(module, name)


def read_verification_pack(path: str | Path) -> tuple[list[bytes], np.ndarray]:
    """The encoded images (two per pair) and ``same`` [pairs] bool of a ``.bin`` pack, without running its code.

    Raises:
        PackError: it is not such a pack, or contains anything but plain data.
    """
    path = Path(path)
    try:
        bins, same = _RestrictedUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images = [_encoded_image(image) for image in bins]
        same = np.array([_as_bool(position, label) for position, label in enumerate(same)])
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise PackError(f"{path} is not a verification pack: {error}") from error
    if len(images) != 2 * len(same) or not len(same):
        raise PackError(f"{path} has {len(images)} images for {len(same)} pairs: expected two per pair")
    return images, same


def _encoded_image(image: object) -> bytes:
    """An image of a verification pack: bytes, or an array of them."""
    if isinstance(image, np.ndarray):
        return image.tobytes()
    if not isinstance(image, bytes | bytearray):
        raise ValueError(f"an image is {type(image).__name__} instead of bytes")
    return bytes(image)


LABELS = {"0": False, "1": True, "False": False, "True": True}
"""Labels of pairs that are text, as some tools write them."""


def _as_bool(position: int, label: object) -> bool:
    """Whether a pair is genuine; ``bool`` alone would take every text for yes."""
    value = label.item() if isinstance(label, np.generic | np.ndarray) and label.size == 1 else label
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if isinstance(text, str) and text in LABELS:
        return LABELS[text]
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    shown = text if isinstance(text, str) else value
    raise ValueError(
        f"label {position} is {shown!r}; labels, counted from 0, are True or False, or 1 (same person) or 0"
    )


def write_verification_pack(path: str | Path, images: list[bytes], same: Iterable[bool]) -> None:
    """Write a ``.bin`` pack: a pickle of (list of encoded images, list of bool), protocol 4."""
    same = [_as_bool(position, label) for position, label in enumerate(same)]
    if len(images) != 2 * len(same):
        raise ValueError(f"{len(images)} images for {len(same)} pairs: expected two per pair")
    with atomic_write(path) as temporary, temporary.open("wb") as output:
        pickle.dump(([bytes(image) for image in images], same), output, protocol=4)


def verification_pairs(same: np.ndarray, folds: int = 10) -> pd.DataFrame:
    """The pairs of a verification pack: images 2i and 2i + 1, in ``folds`` consecutive folds of equal size (from 1)."""
    numbers = np.arange(len(same))
    fold = 1 + numbers * folds // len(same)
    return pd.DataFrame({"a": 2 * numbers, "b": 2 * numbers + 1, "same": same, "fold": fold})
