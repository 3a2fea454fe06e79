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

import itertools
import json
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
    schema = SCHEMA.with_metadata({"faces": json.dumps(metadata)})
    written = 0
    with atomic_write(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for rows in _batches(faces):
                columns = [pa.array(column, type=field.type) for column, field in zip(zip(*rows), SCHEMA)]
                writer.write_batch(pa.record_batch(columns, schema=schema))
                written += len(rows)
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
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(self.path))
            self.metadata = json.loads(self._reader.schema.metadata[b"faces"])
        except (pa.ArrowInvalid, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a face store ({error}); delete it and run the workflow again") from error
        self._table = self._reader.read_all()
        self._images = self._table.column("image").chunks

    def __len__(self) -> int:
        return self._table.num_rows

    def __reduce__(self):
        return FaceStore, (self.path,)

    def column(self, name: str) -> np.ndarray:
        """A whole column as a NumPy array (``landmarks`` as [N, 10])."""
        column = self._table.column(name)
        if name == "landmarks":
            return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, 10)
        return column.to_numpy()

    def value(self, name: str, index: int):
        """One cell of a column, as a Python object."""
        return self._table.column(name)[int(index)].as_py()

    def encoded(self, index: int) -> memoryview:
        """The encoded bytes of face ``index``, without copying them."""
        batch, row = divmod(int(index), ROWS_PER_BATCH)
        return memoryview(self._images[batch][row].as_buffer())

    def image(self, index: int) -> np.ndarray:
        """Face ``index`` as RGB uint8 [112, 112, 3].

        Raises:
            ValueError: its bytes are not an image.
        """
        pixels = cv2.imdecode(np.frombuffer(self.encoded(index), np.uint8), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise ValueError(f"face {index} of {self.path} cannot be decoded")
        return np.asarray(pixels)

    def faces(self) -> Iterator[StoreRow]:
        """All rows in order, as :func:`write` takes them."""
        columns = [self.column(field.name) for field in SCHEMA if field.name != "image"]
        for index, row in enumerate(zip(*columns)):
            yield StoreRow(bytes(self.encoded(index)), *row)


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
        return write(output, itertools.chain.from_iterable(each.faces() for each in stores), metadata)
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
