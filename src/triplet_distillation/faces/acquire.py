"""First stage: get a data set's photographs, and write down what was got."""

import hashlib
import shutil
from pathlib import Path

import pandas as pd

from triplet_distillation import registry
from triplet_distillation.faces.sources import Downloads
from triplet_distillation.files import write_json, write_table
from triplet_distillation.logs import summary
from triplet_distillation.provenance import file_digest


def acquire(settings: dict, folder: str | Path, downloads: dict) -> tuple[pd.DataFrame, dict]:
    """Have a source put its photographs into ``folder``, whole or not at all.

    Args:
        settings: ``source`` (a file of ``faces/sources``) and the source's own settings.
        folder: is made; what is there from before is replaced.
        downloads: ``folder`` where downloads are kept, and ``mirror``, which may be empty.

    Returns:
        The manifest (``path, identity, bytes, sha256``, one row a photograph, in the order
        of the source) and the origin: ``origin, citation, licence, files, photographs,
        checksum``, the checksum being the SHA-256 of the manifest's paths and checksums.

    Raises:
        ValueError: the source has no photographs.
    """
    source = open_source(settings)
    folder = Path(folder)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    for leftover in (unfinished, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    photographs = source.acquire(unfinished, Downloads(Path(downloads["folder"]), downloads["mirror"] or None))
    if not photographs:
        raise ValueError(f"the source has no photographs: check its settings in the configuration ({settings})")
    manifest = pd.DataFrame(photographs)
    files = [unfinished / path for path in manifest.path]
    manifest["bytes"] = [file.stat().st_size for file in files]
    manifest["sha256"] = [file_digest(file) for file in files]
    unfinished.rename(folder)
    checksum = hashlib.sha256("\n".join(manifest.path + " " + manifest.sha256).encode()).hexdigest()
    origin = {
        "origin": source.origin,
        "citation": source.citation,
        "licence": source.licence,
        "files": source.files,
        "photographs": len(manifest),
        "checksum": checksum,
    }
    return manifest, origin


def open_source(settings: dict):
    """The source that ``settings`` (``source`` and its own settings) describe."""
    own_settings = {key: value for key, value in settings.items() if key != "source"}
    return registry.load("faces.sources", settings["source"])(**own_settings)


def write_photographs(settings: dict, folder: str, downloads: dict, manifest: str, origin: str) -> None:
    """:func:`acquire` into ``folder``; the manifest as CSV, the origin as JSON."""
    table, found = acquire(settings, folder, downloads)
    write_table(manifest, table)
    write_json(origin, found)
    summary(f"{len(table)} files of {table.identity.nunique()} people from {found['origin']}")
