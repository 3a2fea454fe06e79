"""Get the images of a data set, and record what was obtained."""

import hashlib
import shutil
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from triplet_distillation import registry
from triplet_distillation.faces.sources import Downloads, Source, SourceImage
from triplet_distillation.files import write_json
from triplet_distillation.logs import summary
from triplet_distillation.provenance import file_digest
from triplet_distillation.tabular import write_table

TEXT = pd.StringDtype("pyarrow")
HASHED_TOGETHER = 10_000
"""Number of images whose digests are Python's objects at the same time."""


def acquire(settings: dict[str, Any], folder: str | Path, downloads: dict) -> tuple[pd.DataFrame, dict]:
    """Have a source put its images into ``folder``, completely or not at all.

    Args:
        settings: ``source`` (a file of ``faces/sources``) and the source's own settings.
        folder: is created; previous content is replaced.
        downloads: ``folder`` for downloads, and ``mirror``, which may be empty.

    Returns:
        The manifest (``path, identity, bytes, sha256``, one row per image, in the source's
        order) and the origin: ``origin, citation, license, files, images, checksum``, where
        the checksum is the SHA-256 of the manifest's paths and checksums; also ``passed_over``, if the
        source did not take all files.

    Raises:
        ValueError: the source has no images.
    """
    source = open_source(settings)
    folder = Path(folder)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    for leftover in (unfinished, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    images = source.acquire(unfinished, Downloads(Path(downloads["folder"]), downloads["mirror"] or None))
    if not images:
        raise ValueError(f"the source has no images: check its settings in the configuration ({settings})")
    manifest = _manifest(images, unfinished)
    del images
    unfinished.rename(folder)
    origin = {
        "origin": source.origin,
        "citation": source.citation,
        "license": source.license,
        "files": source.files,
        "images": len(manifest),
        "checksum": _checksum(manifest),
    }
    if source.passed_over:
        origin["passed_over"] = dict(source.passed_over)
    return manifest, origin


def _manifest(images: list[SourceImage], folder: Path) -> pd.DataFrame:
    """The images' paths, identities, sizes and digests; the text is in Arrow's memory, not in Python's objects."""
    sizes, parts = array("q"), []
    for start in range(0, len(images), HASHED_TOGETHER):
        paths = [folder / image.path for image in images[start : start + HASHED_TOGETHER]]
        sizes.extend(path.stat().st_size for path in paths)
        parts.append(pa.array([file_digest(path) for path in paths], pa.string()))
    digests = pa.chunked_array(parts)
    names = (pa.array((getattr(image, name) for image in images), pa.string()) for name in ("path", "identity"))
    path, identity, sha256 = (TEXT.__from_arrow__(column) for column in (*names, digests))
    return pd.DataFrame({"path": path, "identity": identity, "bytes": np.frombuffer(sizes, np.int64), "sha256": sha256})


def _checksum(manifest: pd.DataFrame) -> str:
    """SHA-256 of a line for each image, with its path and digest."""
    found = hashlib.sha256()
    for number, (path, sha256) in enumerate(zip(manifest.path, manifest.sha256)):
        found.update(f"{chr(10) if number else ''}{path} {sha256}".encode())
    return found.hexdigest()


def open_source(settings: dict[str, Any]) -> Source:
    """The source described by ``settings``: ``source`` and its own settings."""
    source_settings = {key: value for key, value in settings.items() if key != "source"}
    return registry.load("faces.sources", settings["source"])(**source_settings)


def write_images(settings: dict[str, Any], folder: str, downloads: dict, manifest: str, origin: str) -> None:
    """:func:`acquire` into ``folder``; writes the manifest as CSV and the origin as JSON."""
    table, found = acquire(settings, folder, downloads)
    write_table(manifest, table)
    write_json(origin, found)
    summary(f"{len(table)} files of {table.identity.nunique()} identities from {found['origin']}")
