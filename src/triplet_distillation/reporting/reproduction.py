"""Hashes of a study's results in the order of the pipeline, and where two studies first differ."""

import hashlib
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from triplet_distillation.faces.store import SCHEMA, FaceStore
from triplet_distillation.files import json_text, read_json, write_json
from triplet_distillation.logs import summary
from triplet_distillation.networks.weights import read_metadata
from triplet_distillation.portable import is_portable
from triplet_distillation.provenance import array_digest, cpu_name, digest, file_digest
from triplet_distillation.row_files import RowFile

VERSIONS = ("torch", "numpy", "opencv-python-headless", "pillow", "pandas", "scipy", "onnx", "onnxscript")
"""Another version of one of these can change results."""
DIGITS = 16
"""Hexadecimal digits of a hash that are kept."""
STEP_DIGITS = 6
"""The same for a training step, of which there are many."""
TRAINING_FILES = ("history.parquet", "weights.safetensors")
"""A training's files, which have one entry: the weights it started from, its steps, the weights it ended with."""
KEYS = {"cpu", "portable", "configuration", "versions"}
"""Of the environment in which a study ran."""
PARTS = ("content", "initial", "steps", "trained")
"""Of a result, in the order in which they arise."""


class Difference(NamedTuple):
    """Where two studies first differ: ``stage``, ``what`` in it and how (``kind``); ``equal`` hashes before it."""

    stage: str
    what: str
    kind: str
    equal: int


def hash_study(stages: dict[str, list[str]], configuration: str, folder: str, output: str) -> None:
    """Write the hashes of a study's results, with what they depend on besides the code.

    Args:
        stages: stage to the paths of its results, both in the order of the pipeline.
        configuration: digest of the configuration.
        folder: of the study; results are called by their paths in it.
        output: JSON.
    """
    hashes: dict[str, dict[str, dict[str, str]]] = {}
    for stage, paths in stages.items():
        results = hashes.setdefault(stage, {})
        for path in map(Path, paths):
            result = path.parent if path.name in TRAINING_FILES else path
            results.setdefault(str(result.relative_to(folder)), {}).update(content_hashes(str(path)))
        for result, parts in results.items():
            results[result] = {part: parts[part] for part in PARTS if part in parts}
    environment = {
        "cpu": cpu_name(),
        "portable": is_portable(),
        "configuration": configuration,
        "versions": {"python": platform.python_version(), "libc": " ".join(platform.libc_ver())}
        | {name: version(name) for name in VERSIONS},
    }
    write_json(output, {"environment": environment, "stages": hashes})
    summary(f"hashes of {sum(map(len, hashes.values()))} results")


def content_hashes(path: str) -> dict[str, str]:
    """Part to hash of a result's content, in the order in which it arises, whatever the file's format and metadata.

    Trained weights are ``initial`` and ``trained`` ones; a history is ``steps``, all in one string;
    anything else is ``content``.

    Raises:
        ValueError: the extension is unknown.
    """
    match Path(path):
        case Path(suffix=".arrow"):
            return {"content": _store_digest(FaceStore(path))[:DIGITS]}
        case Path(suffix=".safetensors"):
            initial = read_metadata(path).get("initial")
            trained = array_digest(load_file(path))[:DIGITS]
            return {"initial": initial[:DIGITS], "trained": trained} if initial else {"content": trained}
        case Path(suffix=".npy"):
            return {"content": array_digest({"": RowFile(path)})[:DIGITS]}
        case Path(name="history.parquet"):
            rows = _read_parquet(path).to_dict("records")
            return {"steps": "".join(digest({k: float(v).hex() for k, v in row.items()})[:STEP_DIGITS] for row in rows)}
        case Path(suffix=".parquet"):
            table = _read_parquet(path)
            return {"content": _columns_digest({name: table[name].to_numpy() for name in table})[:DIGITS]}
        case Path(suffix=".onnx"):
            model = onnx.load(path)
            del model.metadata_props[:]
            return {"content": hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[:DIGITS]}
        case Path(suffix=".json"):
            content = {key: value for key, value in read_json(path).items() if key != "libraries"}
            return {"content": hashlib.sha256(json_text(content).encode()).hexdigest()[:DIGITS]}
        case Path(suffix=".csv"):
            return {"content": file_digest(path)[:DIGITS]}
    raise ValueError(f"{path}: there is no hash for the content of {Path(path).suffix} files")


def _store_digest(store: FaceStore) -> str:
    images = hashlib.sha256()
    for row in range(len(store)):
        images.update(hashlib.sha256(store.encoded(row)).digest())
    columns: dict[str, np.ndarray | pa.ChunkedArray] = {
        field.name: store.text(field.name) if pa.types.is_string(field.type) else store.column(field.name)
        for field in SCHEMA
        if field.name != "image"
    }
    return digest([images.hexdigest(), _columns_digest(columns)])


def _read_parquet(path: str) -> pd.DataFrame:
    return pq.read_table(path).to_pandas()


def _columns_digest(columns: Mapping[str, np.ndarray | pa.ChunkedArray]) -> str:
    """Digest of columns of numbers or text; that of a face store is not in memory as Python's objects."""
    arrays = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    numbers = {name: column for name, column in arrays.items() if column.dtype.kind in "biuf"}
    texts = hashlib.sha256()
    for name in sorted(columns.keys() - numbers.keys()):
        column = columns[name]
        for chunk in [column] if isinstance(column, np.ndarray) else column.chunks:
            for text in chunk.tolist():
                texts.update(f"{name} {text!r}\n".encode())
    return digest([array_digest(numbers), texts.hexdigest()])


def first_difference(published: dict, ours: dict) -> Difference | None:
    """Where the hashes of two studies (``stages`` of :func:`hash_study`) first differ; None if all are equal."""
    expected, found = dict(_entries(published)), dict(_entries(ours))
    for equal, entry in enumerate([*expected, *(entry for entry in found if entry not in expected)]):
        if entry not in found:
            return Difference(*entry, "missing here", equal)
        if entry not in expected:
            return Difference(*entry, "not published", equal)
        if expected[entry] != found[entry]:
            return Difference(*entry, "different", equal)
    return None


def _entries(hashes: dict) -> Iterator[tuple[tuple[str, str], str]]:
    """(stage, description) and hash of everything in the order of the pipeline; each training step is one entry."""
    for stage, results in hashes.items():
        for result, parts in results.items():
            for part, value in parts.items():
                if part == "steps":
                    for step, start in enumerate(range(0, len(value), STEP_DIGITS)):
                        yield (stage, f"{result}, step {step}"), value[start : start + STEP_DIGITS]
                else:
                    yield (stage, result if part == "content" else f"{result}, {part} weights"), value


def compare(published: str, ours: str, output: str) -> None:
    """Compare the hashes of this study with published ones; say, and write as JSON, where they first differ.

    Raises:
        ValueError: the published file has no hashes.
    """
    expected, found = read_json(published), read_json(ours)
    if not isinstance(expected, dict) or not expected.get("stages") or expected.get("environment", {}).keys() != KEYS:
        raise ValueError(f"{published} has no hashes: published_hashes must be a results/<study>/hashes.json")
    difference = first_difference(expected["stages"], found["stages"])
    environments = {"published": expected["environment"], "ours": found["environment"]}
    result = {"equal": difference is None, "first_difference": difference and difference._asdict(), **environments}
    write_json(output, result)
    summary(describe(difference, expected["environment"], found["environment"]))


def describe(difference: Difference | None, published: dict, ours: dict) -> str:
    """The result of a comparison in one line, with what may explain a difference."""
    machines = f"published from {published['cpu']}; here {ours['cpu']}"
    if difference is None:
        return f"reproduced: every bit is that of the published study ({machines})"
    causes = [
        f"{name} {ours['versions'].get(name, 'absent')} instead of {wanted}"
        for name, wanted in published["versions"].items()
        if ours["versions"].get(name) != wanted
    ]
    causes += ["another configuration"] if ours["configuration"] != published["configuration"] else []
    causes += ["execution.portable is false"] if not ours["portable"] else []
    explained = f"; {', '.join(causes)}" if causes else ""
    return (
        f"not reproduced: after {difference.equal} equal hashes, {difference.what} (stage {difference.stage}) is "
        f"{difference.kind}{explained} ({machines})"
    )
