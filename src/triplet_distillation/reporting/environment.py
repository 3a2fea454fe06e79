"""Where a study was run: machine, operating system, versions, commit, configuration."""

import html
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import yaml

from triplet_distillation.files import write_json, write_text
from triplet_distillation.provenance import cpu_name
from triplet_distillation.reporting import pages
from triplet_distillation.versions import made_with

SHOWN_PACKAGES = (
    *("snakemake", "torch", "numpy", "pandas", "scipy", "matplotlib", "mtcnn", "opencv-python-headless", "onnx"),
    *("onnxruntime", "pyarrow", "safetensors", "jupyter"),
)
"""Packages whose versions are shown first."""
WORKFLOW = ("Snakefile", "config.yaml", "workflow", "src")
"""What results depend on, in a checkout: a method may be a file of one's own."""
GIB = 2**30


def describe_environment(root: Path, device: str) -> dict[str, Any]:
    """The machine and the software of this process.

    Args:
        root: folder of the workflow.
        device: that the study computes on: ``cpu``, or a GPU, whose name is then asked for.

    Returns:
        ``cpu, cores, memory_gib, gpu, system, python, commit, packages``. ``gpu`` is None without one; ``commit`` is
        None where the workflow is no Git checkout, and ends in ``+`` if files differ from it.
    """
    installed = {
        found.metadata["Name"].lower().replace("_", "-"): found.version
        for found in importlib.metadata.distributions()
        # An installation that was interrupted leaves folders without either.
        if found.read_text("METADATA") or found.read_text("PKG-INFO")
    }
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / GIB),
        "gpu": None if device == "cpu" else _gpu_name(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": git_commit(root),
        "packages": dict(sorted(installed.items())),
    }


def _gpu_name() -> str | None:
    import torch  # takes a second to import, which studies on a CPU need not spend

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def git_commit(folder: Path) -> str | None:
    """The commit of a checkout, with a ``+`` if its workflow differs from it, by new files, too; None if Git cannot
    tell."""
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain", "--", *WORKFLOW))
    except (OSError, subprocess.CalledProcessError):
        return None


def write_environment(
    environment: dict[str, Any], results: list[str], configuration: str, json_file: str, html_page: str
) -> None:
    """Write the environment as JSON, and as a page with the configuration.

    Args:
        environment: from :func:`describe_environment`.
        results: paths of weights, which say with which versions they were made.
        configuration: path of the study's resolved configuration (YAML).
        json_file, html_page: outputs.
    """
    write_json(json_file, environment)
    packages = environment["packages"]
    text = Path(configuration).read_text(encoding="utf-8")
    made = {f"{name} {version}" for path in results for name, version in made_with(path).items()}
    rows = [
        ("processor", f"{environment['cpu']}, {environment['cores']} cores"),
        ("memory", f"{environment['memory_gib']} GiB"),
        ("GPU", environment["gpu"] or "none used"),
        ("system", f"{environment['system']}, Python {environment['python']}"),
        ("Git commit of the workflow", _commit_in_words(environment["commit"])),
        ("packages", ", ".join(f"{name} {packages[name]}" for name in SHOWN_PACKAGES if name in packages)),
        ("seeds of the runs", ", ".join(map(str, yaml.safe_load(text)["seeds"]))),
        ("weights were made with", ", ".join(sorted(made)) or "unknown: they were all imported"),
    ]
    write_text(
        html_page,
        pages.page(
            "Environment and configuration",
            pages.paragraph(
                "The machine and software that made this report. Results that an earlier run had made were kept; the "
                "last row says what made the weights."
            ),
            pages.table(["", ""], [[html.escape(name), f" {html.escape(value)}"] for name, value in rows]),
            "<h2>Configuration, with all defaults</h2>",
            f"<pre>{html.escape(text)}</pre>",
            f"<details><summary>All {len(packages)} installed packages</summary><pre>"
            + html.escape("\n".join(f"{name}=={version}" for name, version in packages.items()))
            + "</pre></details>",
        ),
    )


def _commit_in_words(commit: str | None) -> str:
    if commit is None:
        return "unknown: the workflow is not a Git checkout, or Git cannot read it"
    return f"{commit.rstrip('+')}{', with files that differ from it' if commit.endswith('+') else ''}"
