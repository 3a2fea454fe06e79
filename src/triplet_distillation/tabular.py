"""Tables as files. A module of its own, because every job imports :mod:`.files`, and pandas takes time to import."""

import codecs
import csv
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from triplet_distillation.files import atomic_write
from triplet_distillation.provenance import library_versions

ROWS_PER_BLOCK = 2**12
CSV_RULES = "which has one line per row, cells separated by commas, and double quotes around a cell with a comma"


def write_table(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Write ``table`` without its index, as Parquet or CSV depending on the extension.

    The metadata of a Parquet file has the versions of the libraries, as every result's.
    """
    with atomic_write(path) as temporary:
        if temporary.suffix == ".parquet":
            arrow = pa.Table.from_pandas(table, preserve_index=False)
            versions = {"libraries": json.dumps(library_versions(), sort_keys=True)}
            pq.write_table(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **versions}), temporary)
        else:
            table.to_csv(temporary, index=False)


def check_output(path: Path) -> None:
    """Whether :func:`write_table` can write ``path``, before the table is computed; creates its folder.

    Raises:
        ValueError: it has another extension.
        OSError: it is a folder, or nothing can be written beside it.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise ValueError(f"{path} has the extension {path.suffix!r}: tables are written as .parquet or .csv")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: choose a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def read_table(path: str | os.PathLike, text: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a table written by :func:`write_table`.

    Args:
        text: columns of a CSV file that are text, whatever they look like: ``001``, ``NA`` and ``None`` are names too.
    """
    if Path(path).suffix == ".parquet":
        return pd.read_parquet(path)
    numbers = {column: [""] for column in pd.read_csv(path, nrows=0).columns if column not in text}
    return pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=numbers)


def read_blocks(path: str | os.PathLike, columns: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Columns of numbers of a Parquet file, as arrays, :data:`ROWS_PER_BLOCK` rows at a time."""
    with pq.ParquetFile(path) as opened:
        for block in opened.iter_batches(ROWS_PER_BLOCK, columns=list(columns)):
            yield {name: block.column(name).to_numpy() for name in columns}


def read_users_table(path: str | os.PathLike, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file that a user has written: all cells as text, the index is the number of the line.

    Args:
        columns: those that it must have.

    Raises:
        ValueError: it is not a table, or a column is missing; the message names the file.
    """
    lines, rows = _read_cells(path)
    if not rows:
        raise ValueError(f"{path} is not a CSV file with one line per row: it is empty")
    names, width = rows[0], len(rows[0])
    if missing := [name for name in columns if name not in names]:
        raise ValueError(
            f"{path} has no column {' and '.join(missing)}: it needs {', '.join(columns)}, separated by commas, but "
            f"line {lines[0]} has {names}"
        )
    if len(set(names)) < width:
        raise ValueError(f"{path}, line {lines[0]}: {names} has a column twice: remove one of them")
    for line, cells in zip(lines, rows):
        if cells and len(cells) != width:
            raise ValueError(
                f"{path}, line {line} has {len(cells)} cells, not {width} as line {lines[0]}: {cells} is not a CSV "
                f"file's row; {CSV_RULES}"
            )
    if len(rows) == 1:
        raise ValueError(f"{path} has no rows below the names of its columns")
    return pd.DataFrame([cells or [""] * width for cells in rows[1:]], index=lines[1:], columns=names, dtype=str)


def _read_cells(path: str | os.PathLike) -> tuple[list[int], list[list[str]]]:
    """Number and cells of every row of a CSV file; empty lines at its end are no rows."""
    lines: list[int] = []
    rows: list[list[str]] = []
    with Path(path).open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.reader(opened, strict=True)
        try:
            for cells in reader:
                lines.append(reader.line_num)
                rows.append(cells)
        except UnicodeDecodeError:
            _read_users_text(path)  # raises an error that names the line
            raise
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}; it is not a CSV file, {CSV_RULES}") from error
    while rows and not rows[-1]:
        rows.pop()
        lines.pop()
    return lines, rows


def read_users_lines(path: str | os.PathLike) -> dict[int, str]:
    """The lines of a text file that a user has written, without empty ones, by their number from 1.

    Raises:
        ValueError: it is not UTF-8; the message names file and line.
    """
    lines = enumerate(re.split(r"\r\n|\n|\r", _read_users_text(path)), start=1)
    return {number: line for number, line in lines if line.strip()}


def _read_users_text(path: str | os.PathLike) -> str:
    """The text of a file in UTF-8, without the byte order mark that some editors write."""
    content = Path(path).read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path} is a text in UTF-16: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start)
        line = content.split(b"\n", number + 1)[number].strip()
        raise ValueError(f"{path}, line {number + 1}: {line!r} is not UTF-8: save the file as UTF-8") from error
