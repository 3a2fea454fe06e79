"""InsightFace's packs, read without mxnet: training packs (RecordIO) and verification packs (``.bin``).

Both contain aligned, encoded 112×112 faces, which are passed on byte for byte.
"""

import importlib
import io
import mmap
import pickle
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation.files import atomic_write

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
HEADER = struct.Struct("<IfQQ")
"""flag, label, id, id2 of a record's payload; if flag > 0, that many float32 labels follow."""


class PackError(ValueError):
    """A file that is damaged or not a pack; the message names the file and the record."""


class Record(NamedTuple):
    """``labels``: one or more; ``content``: the encoded image, empty for an identity and for the first record."""

    labels: tuple[float, ...]
    content: bytes


class TrainingPack:
    """``train.rec`` with ``train.idx`` and ``property``, memory-mapped: record i is read without reading the others.

    Args:
        folder: with the three files.

    Raises:
        PackError: a file is missing, or index and records do not match.
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
                f"{self._path}: record 0 has {len(first.labels)} labels instead of the two bounds of a pack's index"
            )
        self.images = range(1, int(first.labels[0]))
        self.identities = range(int(first.labels[0]), int(first.labels[1]))
        if len(self._offsets) < self.identities.stop:
            raise PackError(
                f"{self.folder / 'train.idx'} lists {len(self._offsets)} records, but record 0 implies "
                f"{self.identities.stop}: index and records are from different packs, or the index is truncated"
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
            PackError: the record is truncated, or does not start at its offset in the index.
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
        position, kind = int(self._offsets[number]), None
        while kind not in (0, 3):
            if position < 0 or position + 8 > len(self._map):
                raise PackError(f"{self._path} ends before record {number} (offset {position}): it is truncated")
            magic, packed = struct.unpack_from("<II", self._map, position)
            if magic != MAGIC:
                raise PackError(
                    f"{self._path}: no record starts at offset {position}, where train.idx has record {number}: "
                    "the two files are from different packs"
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
                raise PackError(f"{self._path}: identity record {number} has {labels}, not a valid range of records")
            ranges.append(range(int(labels[0]), int(labels[1])))
        return ranges


def write_training_pack(folder: str | Path, faces: Iterable[tuple[int, bytes]]) -> None:
    """Write ``train.rec``, ``train.idx`` and ``property`` as InsightFace's loaders and mxnet read them.

    Args:
        folder: is created.
        faces: (label from 0, encoded image), grouped by label.

    Raises:
        ValueError: the images are not grouped by label, or there are none.
    """
    folder = Path(folder)
    ranges: list[list[int]] = []
    offsets = []
    with atomic_write(folder / "train.rec") as temporary, temporary.open("wb") as output:
        offsets.append(output.tell())
        output.write(_encode_record((0.0, 0.0), 0, b""))  # replaced at the end, when its bounds are known
        for number, (label, image) in enumerate(faces, start=1):
            if label == len(ranges):
                ranges.append([number, number])
            if label != len(ranges) - 1:
                raise ValueError(
                    f"face {number - 1} has label {label} after {len(ranges) - 1}: sort the faces by label"
                )
            ranges[-1][1] = number + 1
            offsets.append(output.tell())
            output.write(_encode_record((float(label),), number, image))
        if not ranges:
            raise ValueError(f"there are no faces to write to {folder}")
        first_identity = len(offsets)
        for number, bounds in enumerate(ranges, start=first_identity):
            offsets.append(output.tell())
            output.write(_encode_record(tuple(map(float, bounds)), number, b""))
        output.seek(0)
        output.write(_encode_record((float(first_identity), float(len(offsets))), 0, b""))
    with atomic_write(folder / "train.idx") as temporary:
        temporary.write_text(
            "".join(f"{number}\t{offset}\n" for number, offset in enumerate(offsets)), encoding="ascii"
        )
    with atomic_write(folder / "property") as temporary:
        temporary.write_text(f"{len(ranges)},112,112\n", encoding="ascii")


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
        images = [image.tobytes() if isinstance(image, np.ndarray) else bytes(image) for image in bins]
        same = np.array([bool(each) for each in same])
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise PackError(f"{path} is not a verification pack: {error}") from error
    if len(images) != 2 * len(same) or not len(same):
        raise PackError(f"{path} has {len(images)} images for {len(same)} pairs: expected two per pair")
    return images, same


def write_verification_pack(path: str | Path, images: list[bytes], same: Iterable[bool]) -> None:
    """Write a ``.bin`` pack: a pickle of (list of encoded images, list of bool), protocol 4."""
    same = [bool(each) for each in same]
    if len(images) != 2 * len(same):
        raise ValueError(f"{len(images)} images for {len(same)} pairs: expected two per pair")
    with atomic_write(path) as temporary, temporary.open("wb") as output:
        pickle.dump(([bytes(image) for image in images], same), output, protocol=4)


def verification_pairs(same: np.ndarray, folds: int = 10) -> pd.DataFrame:
    """The pairs of a verification pack: images 2i and 2i + 1, in ``folds`` consecutive folds of equal size (from 1)."""
    numbers = np.arange(len(same))
    fold = 1 + numbers * folds // len(same)
    return pd.DataFrame({"a": 2 * numbers, "b": 2 * numbers + 1, "same": same, "fold": fold})
