"""Tables as files. A module of its own, because every job imports :mod:`.files`, and pandas takes time to import."""

import json
import os
import warnings
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from triplet_distillation.files import atomic_write
from triplet_distillation.provenance import library_versions


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


def read_table(path: str | os.PathLike, text: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a table written by :func:`write_table`.

    Args:
        text: columns of a CSV file that are text, whatever they look like: ``001``, ``NA`` and ``None`` are names too.
    """
    if Path(path).suffix == ".parquet":
        return pd.read_parquet(path)
    numbers = {column: [""] for column in pd.read_csv(path, nrows=0).columns if column not in text}
    return pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=numbers)


def read_users_table(path: str | os.PathLike, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file that a user has written: all cells as text, the index is the number of the line.

    Args:
        columns: those that it must have.

    Raises:
        ValueError: it is not a table, or a column is missing; the message names the file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line with more cells than the first
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, skip_blank_lines=False)
    except (ValueError, pd.errors.ParserWarning) as error:  # pandas' errors are ValueErrors
        raise ValueError(f"{path} is not a CSV file in UTF-8 with one line per row: {error}") from error
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"{path} has no column {' and '.join(missing)}: it needs {', '.join(columns)}")
    if table.empty:
        raise ValueError(f"{path} has no rows below the names of its columns")
    return table.set_axis(table.index + 2)
