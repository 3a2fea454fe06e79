"""Which results of a study were made with other versions of the libraries than those that are installed now."""

import json
from collections.abc import Mapping
from pathlib import Path

from triplet_distillation.files import read_json
from triplet_distillation.provenance import library_versions

HEADER_LENGTH = 8
"""Bytes at the start of a safetensors file that say how long its header is."""


def made_with(path: str | Path) -> dict[str, str]:
    """Versions of the libraries that made a result (.arrow, .json, .parquet, .safetensors); none if it does not say."""
    match Path(path).suffix:
        case ".json":
            return read_json(path).get("libraries", {})
        case ".safetensors":  # without importing torch
            with Path(path).open("rb") as opened:
                header = json.loads(opened.read(int.from_bytes(opened.read(HEADER_LENGTH), "little")))
            entries = {key: json.loads(text) for key, text in header.get("__metadata__", {}).items()}
            return next((each["libraries"] for each in (entries, *entries.values()) if "libraries" in each), {})
        case ".parquet":
            import pyarrow.parquet as pq

            return json.loads((pq.read_schema(path).metadata or {}).get(b"libraries", "{}"))
        case ".arrow":
            import pyarrow as pa

            with pa.memory_map(str(path)) as opened:
                return json.loads(pa.ipc.open_file(opened).schema.metadata[b"faces"]).get("libraries", {})
    raise ValueError(f"{path} does not say with what it was made")


def older_results(results: Mapping[str, list[str]]) -> str:
    """One line: which results were made with other versions, and the command that makes them again; empty if none.

    Args:
        results: rule to the paths of its results; those that do not exist are left out.
    """
    now = library_versions()
    changed: dict[str, None] = {}
    older: dict[str, list[str]] = {}
    for rule, paths in results.items():
        for path in filter(Path.is_file, map(Path, paths)):
            differences = [f"{name} {old}" for name, old in made_with(path).items() if now.get(name, old) != old]
            if differences:
                changed |= dict.fromkeys(differences)
                older.setdefault(rule, []).append(str(path))
    if not older:
        return ""
    names = dict.fromkeys(each.split()[0] for each in changed)
    return (
        f"{sum(map(len, older.values()))} results, such as {next(iter(older.values()))[0]}, were made with "
        f"{', '.join(changed)} (installed: {', '.join(f'{name} {now[name]}' for name in names)}) and are kept. To make "
        f"them again: snakemake --cores all --forcerun {' '.join(older)}"
    )
