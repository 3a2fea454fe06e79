"""Tables as files. A module of its own, because every job imports :mod:`.files`, and pandas takes time to import."""

import os
import warnings
from pathlib import Path

import pandas as pd

from triplet_distillation.files import atomic_write


def write_table(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Write ``table`` without its index, as Parquet or CSV depending on the extension."""
    with atomic_write(path) as temporary:
        if temporary.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
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
