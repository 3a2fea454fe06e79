"""Files and folders that the user brings: whether they are there, before any job runs."""

from pathlib import Path
from typing import NamedTuple

from triplet_distillation import configuration, registry

ANYTHING = "*"
"""``contents`` of a source that does not say what is at its path."""


class LocalFile(NamedTuple):
    """A file or folder that the user brings.

    ``key``: of the configuration; ``path``; ``contents``: as in :class:`.faces.sources.Source`; ``product``: a pattern
    of what the workflow makes of it, below the study's results.
    """

    key: str
    path: str
    contents: str
    product: str


def local_files(study: dict) -> list[LocalFile]:
    """The files and folders of a checked configuration that the user brings."""
    found = []
    for name, entry in study["datasets"].items():
        contents = {
            "path": registry.attribute("faces.sources", entry["source"], "contents"),
            "archive": "",
            "pairs": "",
        }
        for setting in contents.keys() & entry.keys():
            key = f"datasets.{name}.{setting}"
            found.append(LocalFile(key, entry[setting], contents[setting], f"faces/{name}/images.csv"))
    for name, entry in study["benchmarks"].items():
        path = entry.get("pairs", {}).get("file", "")
        found.append(LocalFile(f"benchmarks.{name}.pairs.file", path, "", f"split/*/pairs/{name}.parquet"))
    found.append(LocalFile("downloads.mirror", study["downloads"]["mirror"], ANYTHING, "faces/*/images.csv"))
    models = {role: study[role] for role in ("teacher", "student")}
    models |= {f"models.{name}": model for name, model in study["models"].items()}
    for key, model in models.items():
        folder = key.replace(".", "/", 1)
        weights = f"{folder}/*/weights.safetensors"
        found.append(LocalFile(f"{key}.weights", model["weights"], "", weights))
        found.append(LocalFile(f"{key}.scores", model.get("scores", ""), "", f"evaluation/{folder}/*/scores.parquet"))
        name = model.get("network")
        if name and not model["weights"] and configuration.is_pretrained(study["networks"][name]):
            path = study["networks"][name].get("path", "")
            found.append(LocalFile(f"networks.{name}.path", path, "", weights))
    return [each for each in found if each.path]


def check_files(study: dict, results: Path) -> None:
    """Whether what the user brings is there, before any job runs.

    What has been used already, or is itself in a folder of results, need not be.

    Args:
        study: a checked configuration.
        results: folder of the study's results.

    Raises:
        ConfigurationError: something is not there; the message lists all of it.
    """
    needed = [
        each
        for each in local_files(study)
        if not Path(each.path).absolute().is_relative_to(results.absolute().parent)
        and not any(results.glob(each.product))
    ]
    if problems := [f"{each.key}: {problem}" for each in needed if (problem := _problem_with(each))]:
        configuration.refuse(problems)


def _problem_with(local: LocalFile) -> str:
    """Why a local file or folder cannot be used; empty if it can."""
    path, shown = Path(local.path), repr(local.path)
    if not path.exists():
        return f"{shown} does not exist: correct it (relative paths start at {Path.cwd()})"
    if local.contents == ANYTHING or (not local.contents and path.is_file()):
        return ""
    if not local.contents:
        return f"{shown} is a folder: name a file"
    if not path.is_dir():
        return f"{shown} is not a folder"
    if any(each.is_dir() or local.contents != "*/" for each in path.glob(local.contents)):
        return ""
    if local.contents == "*/":
        return f"{shown} has no subfolders: put everyone's images into a subfolder of their own, as in anna/1.jpg"
    return f"{shown} has no {local.contents}: it is not the folder of such a data set"
