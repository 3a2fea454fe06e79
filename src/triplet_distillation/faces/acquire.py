"""Get the images of a data set, and record what was obtained."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from triplet_distillation import registry
from triplet_distillation.faces.sources import Downloads, Source
from triplet_distillation.files import write_json
from triplet_distillation.logs import summary
from triplet_distillation.provenance import file_digest
from triplet_distillation.tabular import write_table


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
    manifest = pd.DataFrame([(image.path, image.identity) for image in images], columns=["path", "identity"])
    files = [unfinished / path for path in manifest.path]
    manifest["bytes"] = [file.stat().st_size for file in files]
    manifest["sha256"] = [file_digest(file) for file in files]
    unfinished.rename(folder)
    checksum = hashlib.sha256("\n".join(manifest.path + " " + manifest.sha256).encode()).hexdigest()
    origin = {
        "origin": source.origin,
        "citation": source.citation,
        "license": source.license,
        "files": source.files,
        "images": len(manifest),
        "checksum": checksum,
    }
    if source.passed_over:
        origin["passed_over"] = dict(source.passed_over)
    return manifest, origin


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
