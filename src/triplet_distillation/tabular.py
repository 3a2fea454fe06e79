"""Tables as files. A module of its own, because every job imports :mod:`.files`, and pandas takes time to import."""

import os
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
