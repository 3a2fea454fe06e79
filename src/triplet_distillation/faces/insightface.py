"""InsightFace's packs, read without mxnet: training packs (RecordIO) and verification packs (``.bin``).

Both hold aligned, encoded 112×112 faces, which are handed on byte for byte.
"""

import io
import mmap
import pickle
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.files import whole

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
HEADER = struct.Struct("<IfQQ")
"""flag, label, id, id2 of a record's payload; flag > 0: as many float32 labels follow."""


class PackError(ValueError):
    """A pack that is broken or not one; the message names the file and the record."""


class Record(NamedTuple):
    """``labels``: one or several; ``content``: the encoded image, empty for an identity or the first record."""

    labels: tuple[float, ...]
    content: bytes


class TrainingPack:
    """``train.rec`` with ``train.idx`` and ``property``, memory mapped: record i without touching the others.

    Args:
        folder: of the three files.

    Raises:
        PackError: a file is missing, or index and records disagree.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        for name in ("train.rec", "train.idx", "property"):
            if not (self.folder / name).is_file():
                raise PackError(f"{self.folder / name} is missing: a training pack has train.rec, train.idx, property")
        self._path = self.folder / "train.rec"
        with self._path.open("rb") as opened:
            if not self._path.stat().st_size:
                raise PackError(f"{self._path} is empty")
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self._offsets = self._read_index(self.folder / "train.idx")
        first = self.record(0)
        if len(first.labels) != 2:
            raise PackError(
                f"{self._path}: record 0 has {len(first.labels)} labels, not the two bounds of a pack's index"
            )
        self.images = range(1, int(first.labels[0]))
        self.identities = range(int(first.labels[0]), int(first.labels[1]))
        if len(self._offsets) < self.identities.stop:
            raise PackError(
                f"{self.folder / 'train.idx'} lists {len(self._offsets)} records, record 0 speaks of "
                f"{self.identities.stop}: index and records are not of one pack, or the index is truncated"
            )

    def _read_index(self, path: Path) -> np.ndarray:
        try:
            table = np.loadtxt(path, dtype=np.int64, ndmin=2).reshape(-1, 2)
        except ValueError as error:
            raise PackError(f"{path} is not a table of record numbers and offsets ({error})") from error
        if not np.array_equal(np.sort(table[:, 0]), np.arange(len(table))):
            raise PackError(f"{path}: record numbers are not 0 … {len(table) - 1}, each once")
        offsets = np.empty(len(table), np.int64)
        offsets[table[:, 0]] = table[:, 1]
        return offsets

    def record(self, number: int) -> Record:
        """Record ``number`` (0 … len − 1).

        Raises:
            PackError: the record is truncated, or does not begin where the index says.
        """
        payload = b"".join(self._parts(number))
        if len(payload) < HEADER.size:
            raise PackError(f"{self._path}: record {number} is too short for its header")
        flag, label, _, _ = HEADER.unpack_from(payload)
        if not flag:
            return Record((label,), payload[HEADER.size :])
        end = HEADER.size + 4 * flag
        if len(payload) < end:
            raise PackError(f"{self._path}: record {number} says {flag} labels and is too short for them")
        return Record(struct.unpack_from(f"<{flag}f", payload, HEADER.size), payload[end:])

    def _parts(self, number: int) -> Iterator[bytes]:
        """A record's payload; one that contains the magic number is stored in parts with it left out between."""
        position, kind = int(self._offsets[number]), None
        while kind not in (0, 3):
            if position < 0 or position + 8 > len(self._map):
                raise PackError(f"{self._path} ends before record {number} (offset {position}): it is truncated")
            magic, packed = struct.unpack_from("<II", self._map, position)
            if magic != MAGIC:
                raise PackError(
                    f"{self._path}: no record begins at offset {position}, where train.idx has record {number}: "
                    "the two files are not of one pack"
                )
            kind, length = packed >> 29, packed & ((1 << 29) - 1)
            if position + 8 + length > len(self._map):
                raise PackError(f"{self._path} ends within record {number} (offset {position}): it is truncated")
            if kind in (2, 3):
                yield MAGIC_BYTES
            yield self._map[position + 8 : position + 8 + length]
            position += 8 + (length + 3) // 4 * 4

    def identity_ranges(self) -> list[range]:
        """For each identity, the records of its images."""
        ranges = []
        for number in self.identities:
            labels = self.record(number).labels
            if len(labels) != 2 or not 1 <= labels[0] <= labels[1] <= self.images.stop:
                raise PackError(
                    f"{self._path}: identity record {number} names the records {labels}, which are no range"
                )
            ranges.append(range(int(labels[0]), int(labels[1])))
        return ranges


def write_training_pack(folder: str | Path, faces: Iterable[tuple[int, bytes]]) -> None:
    """Write ``train.rec``, ``train.idx`` and ``property`` as InsightFace's loaders and mxnet read them.

    Args:
        folder: is made.
        faces: (identity number 0 …, encoded image), the images of an identity together.

    Raises:
        ValueError: an identity's images are not together, or there are none.
    """
    folder = Path(folder)
    ranges: list[list[int]] = []
    offsets = []
    with whole(folder / "train.rec") as temporary, temporary.open("wb") as output:
        offsets.append(output.tell())
        output.write(_encode_record((0.0, 0.0), 0, b""))  # its bounds are known at the end
        for number, (label, image) in enumerate(faces, start=1):
            if label == len(ranges):
                ranges.append([number, number])
            if label != len(ranges) - 1:
                raise ValueError(f"face {number - 1} has identity {label} after {len(ranges) - 1}: sort by identity")
            ranges[-1][1] = number + 1
            offsets.append(output.tell())
            output.write(_encode_record((float(label),), number, image))
        if not ranges:
            raise ValueError(f"no face to write to {folder}")
        first_identity = len(offsets)
        for number, bounds in enumerate(ranges, start=first_identity):
            offsets.append(output.tell())
            output.write(_encode_record(tuple(map(float, bounds)), number, b""))
        output.seek(0)
        output.write(_encode_record((float(first_identity), float(len(offsets))), 0, b""))
    with whole(folder / "train.idx") as temporary:
        temporary.write_text("".join(f"{number}\t{offset}\n" for number, offset in enumerate(offsets)))
    with whole(folder / "property") as temporary:
        temporary.write_text(f"{len(ranges)},112,112\n")


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
    """Cut at every magic number that begins at a multiple of four, leaving it out."""
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
"""What a pickle of NumPy arrays and scalars asks for."""


class _RestrictedUnpickler(pickle.Unpickler):
    """Lists, tuples, bytes, booleans, and NumPy arrays of bytes and booleans; anything else is refused by name."""

    def find_class(self, module, name):
        if (module, name) not in PLAIN_DATA:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no verification pack needs")
        if module.startswith("numpy") and "multiarray" in module:
            return getattr(np._core.multiarray, name)
        return super().find_class(module, name)


def read_verification_pack(path: str | Path) -> tuple[list[bytes], np.ndarray]:
    """The encoded images (2 a pair) and ``same`` [pairs] bool of a ``.bin`` pack; no code of it is run.

    Raises:
        PackError: it is no such pack, or asks for anything but plain data.
    """
    path = Path(path)
    try:
        bins, same = _RestrictedUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images = [image.tobytes() if isinstance(image, np.ndarray) else bytes(image) for image in bins]
        same = np.array([bool(each) for each in same])
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise PackError(f"{path} is no verification pack: {error}") from error
    if len(images) != 2 * len(same) or not len(same):
        raise PackError(f"{path} has {len(images)} images for {len(same)} pairs: two a pair are wanted")
    return images, same


def write_verification_pack(path: str | Path, images: list[bytes], same: Iterable[bool]) -> None:
    """Write a ``.bin`` pack: a pickle of (list of encoded images, list of bool), protocol 4."""
    same = [bool(each) for each in same]
    if len(images) != 2 * len(same):
        raise ValueError(f"{len(images)} images for {len(same)} pairs: two a pair are wanted")
    with whole(path) as temporary, temporary.open("wb") as output:
        pickle.dump(([bytes(image) for image in images], same), output, protocol=4)


def verification_pairs(same: np.ndarray, folds: int = 10) -> pd.DataFrame:
    """The pairs of a verification pack: images 2i and 2i + 1, in ``folds`` runs of equal length (from 1)."""
    numbers = np.arange(len(same))
    fold = 1 + numbers * folds // len(same)
    return pd.DataFrame({"a": 2 * numbers, "b": 2 * numbers + 1, "same": same, "fold": fold})
