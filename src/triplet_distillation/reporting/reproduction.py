"""Hashes of a study's results in the order of the pipeline, and where two studies first differ."""

import hashlib
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pandas as pd
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from triplet_distillation.faces.store import SCHEMA, FaceStore
from triplet_distillation.files import read_json, write_json
from triplet_distillation.logs import summary
from triplet_distillation.networks.weights import read_metadata
from triplet_distillation.portable import is_portable
from triplet_distillation.provenance import array_digest, digest, file_digest

LIBRARIES = ("torch", "numpy", "opencv-python-headless", "scipy", "onnxruntime")
"""Another version of one of these can change bits."""
DIGITS = 16
"""Hexadecimal digits of a hash that are kept."""
STEP_DIGITS = 6
"""The same for a training step, of which there are many."""


class Difference(NamedTuple):
    """Where two studies first differ: ``stage``, and ``what`` in it; ``equal`` hashes before it."""

    stage: str
    what: str
    equal: int


def hash_study(stages: dict[str, list[str]], folder: str, output: str) -> None:
    """Write the hashes of a study's results, with the CPU and the versions that produced them.

    Args:
        stages: stage to the paths of its results, both in the order of the pipeline.
        folder: of the study; results are called by their paths in it.
        output: JSON.
    """
    hashes = {
        stage: {str(Path(path).relative_to(folder)): content_hashes(path) for path in paths}
        for stage, paths in stages.items()
    }
    environment = {
        "cpu": cpu_name(),
        "portable": is_portable(),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    write_json(output, {"environment": environment, "stages": hashes})
    summary(f"hashes of {sum(map(len, hashes.values()))} results")


def cpu_name() -> str:
    """The CPU's own name for itself, on Linux; the architecture elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def content_hashes(path: str) -> dict[str, str]:
    """Part to hash of a result's content, in the order in which it arises, whatever the file's format and metadata.

    Weights are ``initial`` and ``trained`` ones; a history is its steps, all in one string;
    anything else has one part, ``content``.

    Raises:
        ValueError: the extension is unknown.
    """
    match Path(path):
        case Path(suffix=".arrow"):
            return {"content": _store_digest(FaceStore(path))[:DIGITS]}
        case Path(suffix=".safetensors"):
            initial = read_metadata(path).get("initial")
            trained = array_digest(load_file(path))[:DIGITS]
            return {"initial": initial[:DIGITS], "trained": trained} if initial else {"trained": trained}
        case Path(suffix=".npy"):
            return {"content": array_digest({"": np.load(path, mmap_mode="r")})[:DIGITS]}
        case Path(name="history.parquet"):
            rows = _read_parquet(path).to_dict("records")
            return {"steps": "".join(digest({k: float(v).hex() for k, v in row.items()})[:STEP_DIGITS] for row in rows)}
        case Path(suffix=".parquet"):
            table = _read_parquet(path)
            return {"content": _columns_digest({name: table[name].to_numpy() for name in table})[:DIGITS]}
        case Path(suffix=".onnx"):
            model = onnx.load(path)
            del model.metadata_props[:]
            return {"content": digest(model.SerializeToString(deterministic=True).hex())[:DIGITS]}
        case Path(suffix=".csv" | ".json"):
            return {"content": file_digest(path)[:DIGITS]}
    raise ValueError(f"{path}: there is no hash for the content of {Path(path).suffix} files")


def _store_digest(store: FaceStore) -> str:
    images = hashlib.sha256()
    for row in range(len(store)):
        images.update(hashlib.sha256(store.encoded(row)).digest())
    columns = {field.name: store.column(field.name) for field in SCHEMA if field.name != "image"}
    return digest([images.hexdigest(), _columns_digest(columns)])


def _read_parquet(path: str) -> pd.DataFrame:
    return pq.read_table(path).to_pandas()


def _columns_digest(columns: dict[str, np.ndarray]) -> str:
    """Digest of columns of numbers or text."""
    numbers = {name: column for name, column in columns.items() if column.dtype.kind in "biuf"}
    texts = {name: list(map(str, column)) for name, column in columns.items() if name not in numbers}
    return digest([array_digest(numbers), texts])


def first_difference(published: dict, ours: dict) -> Difference | None:
    """Where the hashes of two studies (``stages`` of :func:`hash_study`) first differ; None if all are equal."""
    pairs = zip(_walk(published, published), _walk(published, ours))
    for equal, ((stage, what, expected), (_, _, found)) in enumerate(pairs):
        if expected != found:
            return Difference(stage, what, equal)
    return None


def _walk(order: dict, hashes: dict) -> Iterator[tuple[str, str, str | None]]:
    """Stage, description and hash of everything in ``order``; the hash is None where ``hashes`` lacks it."""
    for stage, results in order.items():
        for result, parts in results.items():
            for part, value in parts.items():
                found = hashes.get(stage, {}).get(result, {}).get(part)
                if part != "steps":
                    yield stage, f"{result}, {part}", found
                    continue
                for step in range(0, len(value), STEP_DIGITS):
                    one = found[step : step + STEP_DIGITS] if found else None
                    yield stage, f"{result}, step {step // STEP_DIGITS}", one or None


def compare(published: str, ours: str, output: str) -> None:
    """Compare the hashes of this study with published ones; say, and write as JSON, where they first differ."""
    expected, found = read_json(published), read_json(ours)
    difference = first_difference(expected["stages"], found["stages"])
    environments = {"published": expected["environment"], "ours": found["environment"]}
    result = {"equal": difference is None, "first_difference": difference and difference._asdict(), **environments}
    write_json(output, result)
    summary(describe(difference, expected["environment"], found["environment"]))


def describe(difference: Difference | None, published: dict, ours: dict) -> str:
    """The result of a comparison in one line, with what may explain a difference."""
    if difference is None:
        return f"reproduced: every bit is that of the published study ({published['cpu']}; here {ours['cpu']})"
    causes = [
        f"{name} {ours['versions'][name]} instead of {wanted}"
        for name, wanted in published["versions"].items()
        if ours["versions"].get(name) != wanted
    ]
    causes += [f"execution.portable {ours['portable']}"] if not ours["portable"] else []
    explained = f"; {', '.join(causes)}" if causes else ""
    return (
        f"not reproduced: the first difference is in stage {difference.stage}, {difference.what}, after "
        f"{difference.equal} equal hashes{explained} ({published['cpu']}; here {ours['cpu']})"
    )
