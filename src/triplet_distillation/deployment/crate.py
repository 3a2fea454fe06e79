"""A finished study as one file to hand on, and whether it arrived unchanged.

The file is a Workflow Run RO-Crate (https://w3id.org/ro/wfrun/workflow/0.5): a ZIP archive with results, configuration
and the workflow itself, described by ``ro-crate-metadata.json``, which has the SHA-256 of every file.
"""

import hashlib
import json
import lzma
import mimetypes
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast
from urllib.parse import unquote

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from triplet_distillation.files import atomic_write
from triplet_distillation.provenance import file_digest

METADATA = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
PACKAGE_URL = "https://pypi.org/project/"
WORKFLOW_LICENSE = "https://spdx.org/licenses/MIT"
PAPER = "https://arxiv.org/abs/1905.04457"
MIME_TYPES = {
    ".safetensors": "application/octet-stream",
    ".onnx": "application/octet-stream",
    ".parquet": "application/vnd.apache.parquet",
    ".ipynb": "application/x-ipynb+json",
    ".yaml": "application/yaml",
    ".tex": "application/x-tex",
    ".smk": "text/x-python",
    ".md": "text/markdown",
}
"""Where the operating system's list may lack one or differ from others."""


README = """# {facts.title}

{facts.description}

Open `report.html` in a browser. `config.yaml` is the configuration, with all defaults; `workflow/` is the workflow that
ran it (Git commit: {facts.commit}). The weights are subject to the terms of the data that they were trained on:
{facts.terms}.

Faces and embeddings are not included: the notebook can be read here, but only the study that made it can run it again.

To check that nothing was changed or lost on the way, with the workflow installed:

    python -m triplet_distillation verify this-file.zip
"""


class CrateError(ValueError):
    """A file or folder is not the crate of a study."""


SOURCE = (
    *("Snakefile", "config.yaml", "constraints.txt", "pyproject.toml", "README.md", "LICENSE", "CITATION.cff"),
    *("config/**/*.yaml", "config/**/*.json", "envs/*", "profiles/**/*.yaml", "report/*"),
    *("workflow/Snakefile", "workflow/**/*.smk", "workflow/**/*.py", "workflow/**/*.yaml", "workflow/**/*.ipynb"),
    *("workflow/**/*.json", "src/**/*.py"),
)
"""Files of the workflow that a study is run with."""


@dataclass(frozen=True)
class CrateFacts:
    """What the metadata says about a study.

    Attributes:
        study, title: its names.
        description: in a sentence.
        terms: of the data that the weights come from, in words; they hold for the results.
        started, ended: of the first and the last job, ISO 8601.
        versions: of the programs that made it, by name: ``snakemake, torch, …``.
        commit: of the workflow, or ``unknown``.
    """

    study: str
    title: str
    description: str
    terms: str
    started: str
    ended: str
    versions: dict[str, str]
    commit: str


def workflow_source(root: Path) -> dict[str, Path]:
    """The files of the workflow in ``root``, by their path in a crate."""
    paths = sorted(path for pattern in SOURCE for path in root.glob(pattern) if path.is_file())
    return {f"workflow/{path.relative_to(root).as_posix()}": path for path in paths}


def write_crate(facts: CrateFacts, results: dict[str, Path], source: dict[str, Path], output: str | Path) -> None:
    """Write the crate of a study.

    Args:
        facts: for its metadata.
        results: path in the crate to each file of the study; ``config.yaml`` is the configuration.
        source: path in the crate to each file of the workflow; ``workflow/Snakefile`` is its entry.
        output: the ZIP archive.
    """
    crate = ROCrate(gen_preview=False, version="1.1")
    crate.name, crate.description = facts.title, facts.description
    crate.license = crate.add(
        ContextEntity(
            crate, "#terms", {"@type": "CreativeWork", "name": "Terms of the training data", "description": facts.terms}
        )
    )
    workflow = _add_workflow(crate, facts, source)
    readme = {"name": "README.md", "encodingFormat": "text/markdown", "about": {"@id": "./"}}
    text = README.format(facts=facts)
    digest = hashlib.sha256(text.encode()).hexdigest()
    crate.add_file(StringIO(text), "README.md", properties=readme | {"sha256": digest})
    files = {name: crate.add_file(path, name, properties=_properties(name, path)) for name, path in results.items()}
    profiles = [
        crate.add(ContextEntity(crate, url, {"@type": "CreativeWork", "name": name, "version": url.rpartition("/")[2]}))
        for url, name in PROFILES.items()
    ]
    crate.root_dataset["conformsTo"] = profiles
    run = {
        "@type": "CreateAction",
        "name": f"Run of the study {facts.study}",
        "description": "All jobs of the workflow; tables/timings.csv has their time and memory.",
        "startTime": facts.started,
        "endTime": facts.ended,
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    action = crate.add(ContextEntity(crate, "#run", run))
    action["instrument"] = workflow
    action["object"] = files["config.yaml"]
    action["result"] = [file for name, file in files.items() if name != "config.yaml"]
    crate.root_dataset["mentions"] = action
    with atomic_write(output) as temporary:
        crate.write_zip(temporary)


def _add_workflow(crate: ROCrate, facts: CrateFacts, source: dict[str, Path]) -> ContextEntity:
    entry = "workflow/Snakefile"
    properties = _properties(entry, source[entry]) | {
        "name": "Triplet distillation for deep face recognition",
        "license": {"@id": WORKFLOW_LICENSE},
        "url": PAPER,
        "conformsTo": {"@id": BIOSCHEMAS},
        "version": facts.commit,
        "citation": PAPER,
    }
    workflow = crate.add_workflow(
        source[entry],
        entry,
        main=True,
        lang="snakemake",
        lang_version=facts.versions["snakemake"],
        properties=properties,
    )
    for name, path in source.items():
        if name != entry:
            crate.add_file(path, name, properties=_properties(name, path))
    packages = []
    for name, version in facts.versions.items():
        url = f"{PACKAGE_URL}{name}/{version}/"
        package = {"@type": "SoftwareApplication", "name": name, "softwareVersion": version, "url": url}
        packages.append(crate.add(ContextEntity(crate, url, package)))
    workflow["softwareRequirements"] = packages
    return workflow


def _properties(name: str, path: Path) -> dict[str, str]:
    suffix = PurePosixPath(name).suffix
    kind = MIME_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "text/plain"
    return {
        "name": name,
        "encodingFormat": kind,
        "contentSize": str(path.stat().st_size),
        "sha256": file_digest(path),
    }


DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
"""What is raised for a damaged archive, which may then look encrypted, or compressed in another way."""


class _Content(Protocol):
    """The files of a crate, in a folder or an archive."""

    def names(self) -> set[str]: ...

    def open(self, name: str) -> BinaryIO: ...


class _Folder:
    def __init__(self, path: Path):
        self.path = path

    def names(self) -> set[str]:
        return {path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file()}

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")


class _Archive:
    def __init__(self, archive: zipfile.ZipFile):
        self.archive = archive

    def names(self) -> set[str]:
        return {entry.filename for entry in self.archive.infolist() if not entry.is_dir()}

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self.archive.open(name))


@contextmanager
def _opened(path: Path) -> Generator[_Content]:
    if path.is_dir():
        yield _Folder(path)
    elif zipfile.is_zipfile(path):
        try:
            archive = zipfile.ZipFile(path)
        except DAMAGED as error:
            raise CrateError(f"{path} is a damaged ZIP archive: copy it again ({error})") from error
        with archive:
            yield _Archive(archive)
    elif path.exists():
        raise CrateError(f"{path} is not a ZIP archive: make it again with the target crate, or copy it again")
    else:
        raise FileNotFoundError(f"there is no crate at {path}")


def verify_crate(path: str | Path) -> list[str]:
    """What differs between a crate and what its metadata say: one line per file; nothing if all are as they were.

    Args:
        path: of the archive, or of the folder that it was unpacked to. Nothing is unpacked or executed.

    Raises:
        CrateError: it is no crate.
    """
    with _opened(Path(path)) as content:
        names = content.names()
        if METADATA not in names:
            raise CrateError(f"{path} has no {METADATA}: it is not a crate, or the crate is in another folder")
        stated = _stated_digests(path, content)
        differences = []
        for name, stated_digest in sorted(stated.items()):
            if name not in names:
                differences.append(f"{name}: missing")
                continue
            try:
                with content.open(name) as opened:
                    found = _digest(opened)
            except DAMAGED as error:
                differences.append(f"{name}: damaged or unreadable ({error})")
                continue
            if found != stated_digest:
                differences.append(f"{name}: differs (SHA-256 is {found}, was {stated_digest})")
        return differences + [f"{name}: added" for name in sorted(names - stated.keys() - {METADATA})]


def _digest(opened: BinaryIO) -> str:
    found = hashlib.sha256()
    while chunk := opened.read(2**20):
        found.update(chunk)
    return found.hexdigest()


def _stated_digests(path: str | Path, content: _Content) -> dict[str, str]:
    try:
        with content.open(METADATA) as opened:
            graph = json.load(opened)["@graph"]
        files = [entity for entity in graph if "File" in entity["@type"]]
        return {unquote(entity["@id"]).removeprefix("./"): entity["sha256"] for entity in files}
    except (ValueError, KeyError, TypeError, *DAMAGED) as error:
        raise CrateError(f"{METADATA} of {path} does not give the SHA-256 of its files ({error!r})") from error
