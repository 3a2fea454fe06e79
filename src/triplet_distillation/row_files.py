"""Arrays that are larger than memory, as ``.npy`` files: read row by row, and written batch by batch.

No file is mapped into memory. Mapped pages count as memory of every process that touches them, up to the size of the
file, and a map is copied whole into a process that does not begin as a copy of this one (spawn, forkserver).
"""

import contextlib
import math
import os
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from triplet_distillation.files import locked, read_json, write_json

SAVE_EVERY = 2**25
"""Bytes after which a growing file says how far it is: what a killed job loses at most."""
BLOCK = 2**24
"""Bytes of a file that are in memory together, where all of them are read."""


class RowFile:
    """Rows of a ``.npy`` file, each read when it is asked for; safe in worker processes.

    Args:
        path: the file.

    Attributes:
        shape, dtype: of the whole array.

    Raises:
        ValueError: it is not such a file, or contains Python objects.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = str(path)
        mapped = np.load(self.path, mmap_mode="r")  # only for its header; nothing else of it is touched
        self.shape, self.dtype = mapped.shape, mapped.dtype
        self._offset = mapped.offset
        self._row_bytes = mapped[:1].nbytes
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self):
        return RowFile, (self.path,)

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, as many at a time as :data:`BLOCK` bytes hold, but at least one."""
        size = max(1, BLOCK // max(1, self._row_bytes))
        for start in range(0, len(self), size):
            yield self.read(np.arange(start, min(start + size, len(self))))

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The rows [N, ...] at ``rows`` [N]; those that follow each other in the file are read at once.

        Raises:
            ValueError: the file ends before a row: it was truncated since it was opened.
        """
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        content = found.reshape(-1).view(np.uint8).data
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        for start, stop in zip(starts, np.append(starts[1:], len(rows))):
            part = content[start * self._row_bytes : stop * self._row_bytes]
            position = self._offset + int(rows[start]) * self._row_bytes
            while part:
                size = os.preadv(self._descriptor, [part], position)
                if not size:
                    raise ValueError(f"{self.path} ends before row {rows[stop - 1]}: delete it and run again")
                part, position = part[size:], position + size
        return found


class GrowingFile:
    """A ``.npy`` file of rows that are appended; see :func:`growing_file`.

    ``rows``: how many it has, of which an interrupted job may have written some.
    """

    def __init__(self, path: Path, progress: Path, digest: str, shape: tuple[int, ...], dtype: np.dtype):
        self.path, self._progress, self._digest, self.shape, self.dtype = path, progress, digest, shape, dtype
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        self.rows = self._rows_to_keep()
        self._file = path.open("r+b" if self.rows else "w+b")
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._file.seek(self.rows * self._row_bytes, os.SEEK_CUR)
        self._file.truncate()
        self._saved = self.rows

    def _rows_to_keep(self) -> int:
        """Rows of an interrupted job, if it made the same."""
        if not (self._progress.is_file() and self.path.is_file()):
            return 0
        found = read_json(self._progress)
        return found["rows"] if found["digest"] == self._digest else 0

    def append(self, batch: np.ndarray) -> None:
        """Write the next rows [B, ...]."""
        self._file.write(np.ascontiguousarray(batch, self.dtype).data)
        self.rows += len(batch)
        if (self.rows - self._saved) * self._row_bytes >= SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Make sure that the rows so far survive this process, and the machine."""
        self._file.flush()
        os.fsync(self._file.fileno())
        write_json(self._progress, {"digest": self._digest, "rows": self.rows})
        self._saved = self.rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextlib.contextmanager
def growing_file(
    path: str | os.PathLike, shape: tuple[int, ...], digest: str, dtype: str = "float32"
) -> Generator[GrowingFile]:
    """Yield a file to append the rows of ``path`` [rows, ...] to; it is named ``path`` when the block succeeds.

    Until then it is beside ``path`` under another name, where an interrupted job leaves it: it is no output of that
    job, so it is not deleted with those.

    Args:
        shape: of the whole array.
        digest: of what decides the rows; those of an interrupted job with another one are not used.

    Raises:
        ValueError: the block appended another number of rows.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix}")
    progress = unfinished.with_suffix(".json")
    with locked(unfinished.with_suffix(".lock"), remove=True):
        growing = GrowingFile(unfinished, progress, digest, shape, np.dtype(dtype))
        try:
            yield growing
            if growing.rows != shape[0]:
                raise ValueError(f"{path}: {growing.rows} rows were written, not {shape[0]}")
            growing.save()
        except BaseException:
            with contextlib.suppress(OSError):  # a full disk: what was saved before remains
                growing.save()
            raise
        finally:
            with contextlib.suppress(OSError):  # what is still in the buffer of a full disk
                growing.close()
        unfinished.replace(path)
        progress.unlink(missing_ok=True)
