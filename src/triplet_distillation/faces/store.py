"""The face store: aligned faces as one memory-mapped Arrow IPC file.

Every source is turned into a face store, and every later stage starts from one. pandas,
pyarrow, polars and Hugging Face ``datasets`` can read it directly. Columns:

====================  ==============  =======================================================
``image``             binary          encoded bytes (PNG as written by :mod:`.align`)
``label``             int32           index of the identity, 0 … identities − 1
``identity``          string          name of the person
``source``            string          path or name of the original image
``landmarks``         10 × float32    x, y of left eye, right eye, nose, left and right mouth
                                      corner, in pixels of the original; NaN without a face
``score``             float32         the detector's confidence; NaN without a face
``detection_status``  int8            a key of :data:`DETECTION_STATUS`
====================  ==============  =======================================================

The schema's metadata records the template, the detector with its version, and the origin
of the faces with its checksum.
"""

import json
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa

from triplet_distillation.files import atomic_write, link_or_copy

DETECTION_STATUS = {0: "one face", 1: "several faces", 2: "no face"}
ONE_FACE, SEVERAL_FACES, NO_FACE = DETECTION_STATUS
ROWS_PER_BATCH = 1024
BATCHES_MAPPED = 256
"""Batches after whose opening the process gives their pages back: the kernel maps 64 KB where a few bytes are read."""
SCHEMA = pa.schema(
    [
        ("image", pa.binary()),
        ("label", pa.int32()),
        ("identity", pa.string()),
        ("source", pa.string()),
        ("landmarks", pa.list_(pa.float32(), 10)),
        ("score", pa.float32()),
        ("detection_status", pa.int8()),
    ]
)


class StoreRow(NamedTuple):
    """One row of a store."""

    image: bytes
    label: int
    identity: str
    source: str
    landmarks: np.ndarray
    score: float
    detection_status: int


def write(path: str | Path, faces: Iterable[StoreRow], metadata: dict, *, may_be_empty: bool = False) -> int:
    """Write a store atomically, with constant memory regardless of the number of faces.

    Args:
        faces: rows, in the order of the store.
        metadata: JSON content, stored under the key ``faces`` of the schema's metadata.
        may_be_empty: a store without faces is not an error (a shard of a larger one).

    Returns:
        The number of faces written.

    Raises:
        ValueError: there are no faces.
    """
    batches = (
        pa.record_batch([pa.array(column, type=field.type) for column, field in zip(zip(*rows), SCHEMA)], schema=SCHEMA)
        for rows in _batches(faces)
    )
    return _write_batches(path, batches, metadata, may_be_empty=may_be_empty)


def _write_batches(
    path: str | Path, batches: Iterable[pa.RecordBatch], metadata: dict, *, may_be_empty: bool = False
) -> int:
    """As :func:`write`, of rows in batches of :data:`ROWS_PER_BATCH`; only the last one may have fewer."""
    schema = SCHEMA.with_metadata({"faces": json.dumps(metadata)})
    written = 0
    with atomic_write(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))
                written += len(batch)
        if not written and not may_be_empty:
            raise ValueError(f"no faces to write to {path}: the data set is empty, or none of its images could be read")
    return written


def _batches(faces: Iterable[StoreRow]) -> Iterator[list[StoreRow]]:
    rows = []
    for face in faces:
        rows.append(face)
        if len(rows) == ROWS_PER_BATCH:
            yield rows
            rows = []
    if rows:
        yield rows


class FaceStore:
    """A store opened for reading: item i is read without reading the others; safe in worker processes.

    Args:
        path: the Arrow IPC file.

    Raises:
        ValueError: the file is not a face store, or is truncated.
    """

    def __init__(self, path: str | Path):
        self.path = str(path)
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        try:
            mapped = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
            content = pa.py_buffer(mapped)
            reader = pa.ipc.open_file(content)
            self.metadata = json.loads(reader.schema.metadata[b"faces"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a face store ({error}); delete it and run the workflow again") from error
        self._start = content.address
        batches = []
        for number in range(reader.num_record_batches):
            batches.append(reader.get_batch(number))
            if len(batches) % BATCHES_MAPPED == 0:
                mapped.madvise(mmap.MADV_DONTNEED)
        self._table = pa.Table.from_batches(batches, reader.schema)
        self._images = [self._places(batch.column("image")) for batch in batches]
        mapped.madvise(mmap.MADV_DONTNEED)

    def __len__(self) -> int:
        return self._table.num_rows

    def __reduce__(self):
        return FaceStore, (self.path,)

    def column(self, name: str) -> np.ndarray:
        """A whole column as a NumPy array (``landmarks`` as [N, 10])."""
        column = self._read(name)
        return column.to_numpy().reshape(-1, 10) if name == "landmarks" else column.to_numpy()

    def _read(self, name: str) -> pa.ChunkedArray:
        """A column (of landmarks, all numbers in a row), read as :meth:`encoded` is: a mapped one would also bring the
        images around it into memory."""
        chunks = self._table.column(name).chunks
        if name == "landmarks":
            chunks = [chunk.flatten() for chunk in chunks]
        found = [
            pa.Array.from_buffers(each.type, len(each), [self._content(one) for one in each.buffers()], 0, each.offset)
            for each in chunks
        ]
        return pa.chunked_array(found, pa.float32() if name == "landmarks" else SCHEMA.field(name).type)

    def _content(self, buffer: pa.Buffer | None) -> pa.Buffer | None:
        """A copy of a mapped buffer; there is none of which values are missing, because none are."""
        return buffer and pa.py_buffer(os.pread(self._descriptor, buffer.size, buffer.address - self._start))

    def value(self, name: str, index: int):
        """One cell of a column, as a Python object."""
        return self._table.column(name)[int(index)].as_py()

    def encoded(self, index: int) -> bytes:
        """The encoded bytes of face ``index``.

        They are read, not mapped: mapped pages count as memory of every process that has looked at them, up to the
        size of the store.
        """
        batch, row = divmod(int(index), ROWS_PER_BATCH)
        start, offsets = self._images[batch]
        return os.pread(self._descriptor, int(offsets[row + 1] - offsets[row]), start + int(offsets[row]))

    def _places(self, images: pa.BinaryArray) -> tuple[int, np.ndarray]:
        """Where the images of a batch begin in the file, and their offsets [rows + 1] from there."""
        _, offsets, content = images.buffers()
        start = content.address - self._start
        return start, np.frombuffer(offsets, np.int32)[images.offset : images.offset + len(images) + 1]

    def image(self, index: int) -> np.ndarray:
        """Face ``index`` as RGB uint8 [112, 112, 3].

        Raises:
            ValueError: its bytes are not an image.
        """
        pixels = cv2.imdecode(np.frombuffer(self.encoded(index), np.uint8), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise ValueError(f"face {index} of {self.path} cannot be decoded")
        return np.asarray(pixels)

    def codes(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column of text as numbers, which takes a few bytes per face however long the texts are.

        Returns:
            ``codes`` [N] int32, and ``names`` [distinct texts], object: the text of face i is ``names[codes[i]]``.
            The names are in the order in which they first occur.
        """
        known: dict[str, int] = {}
        codes, start = np.empty(len(self), np.int32), 0
        for chunk in self._read(name).chunks:
            encoded = chunk.dictionary_encode()
            numbers = [known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()]
            codes[start : start + len(chunk)] = np.array(numbers, np.int32)[encoded.indices.to_numpy()]
            start += len(chunk)
        return codes, np.array(list(known), object)

    def text(self, name: str) -> pa.ChunkedArray:
        """A column of text, without a Python object for each cell."""
        return self._read(name)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows in order, as they are in the file, of which one batch is in memory."""
        with pa.OSFile(self.path) as opened:
            reader = pa.ipc.open_file(opened)
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)


def join(paths: Iterable[str | Path], output: str | Path, metadata: dict, *, may_be_empty: bool = False) -> int:
    """Write the faces of several stores, in order, to one, with constant memory regardless of their number.

    The bytes are those that :func:`write` gives for all faces at once.
    """
    return _write_batches(output, _full_batches(_batches_of(paths)), metadata, may_be_empty=may_be_empty)


def _batches_of(paths: Iterable[str | Path]) -> Iterator[pa.RecordBatch]:
    """The rows of several stores, one of which is open at a time."""
    for path in paths:
        yield from FaceStore(path).batches()


def _full_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of :data:`ROWS_PER_BATCH`, on which :meth:`FaceStore.encoded` relies."""
    pending: list[pa.RecordBatch] = []
    for batch in batches:
        while len(batch):
            free = ROWS_PER_BATCH - sum(map(len, pending))
            pending.append(batch.slice(0, free))
            batch = batch.slice(free)
            if sum(map(len, pending)) == ROWS_PER_BATCH:
                yield _joined(pending)
                pending = []
    if pending:
        yield _joined(pending)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches], SCHEMA)
    return table.combine_chunks().to_batches()[0]


def merge(paths: list[str], output: str | Path) -> int:
    """Write the faces of several stores, in order, to one; a single store is linked instead of copied.

    Returns:
        The number of faces.

    Raises:
        ValueError: there are no faces, or the metadata of the stores differ, apart from the versions of libraries.
    """
    stores = [FaceStore(path) for path in paths]
    metadata = stores[0].metadata | _all_versions(stores)
    if any(each.metadata | _all_versions(stores) != metadata for each in stores):
        raise ValueError(f"{', '.join(paths)} come from different data sets or detectors: delete them and run again")
    if len(stores) > 1 or not len(stores[0]):
        return join(paths, output, metadata)
    with atomic_write(output) as temporary:
        link_or_copy(paths[0], temporary)
    return len(stores[0])


def _all_versions(stores: list[FaceStore]) -> dict[str, dict[str, str]]:
    """``libraries`` with the versions that made any of the stores: ``a, b`` where one was upgraded in between."""
    versions: dict[str, dict[str, None]] = {}
    for store in stores:
        for name, version in store.metadata.get("libraries", {}).items():
            versions.setdefault(name, {})[version] = None
    return {"libraries": {name: ", ".join(each) for name, each in versions.items()}} if versions else {}
