"""Files that are either whole or not there."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path to write to; renamed to ``path`` when the block ends without an error, else removed.

    The temporary file keeps the ending, for writers that choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path``, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write ``content`` as indented JSON, keys in the order given."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: str | os.PathLike):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Write ``table`` without its index, as Parquet or CSV by the path's ending."""
    with whole(path) as temporary:
        if temporary.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)


def read_table(path: str | os.PathLike) -> pd.DataFrame:
    """A table that :func:`write_table` wrote."""
    return pd.read_parquet(path) if Path(path).suffix == ".parquet" else pd.read_csv(path)
