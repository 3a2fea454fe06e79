"""The benchmark scripts start: nothing in their folder hides a module of Python's."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmarks"
MODULES = {"simulation"}
"""Imported by scripts."""


def test_every_script_starts():
    scripts = [path for path in sorted(FOLDER.glob("*.py")) if path.stem not in MODULES]
    started = [
        subprocess.Popen([sys.executable, path, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for path in scripts
    ]
    for path, process in zip(scripts, started, strict=True):
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, f"{path.name}: {output}"
        assert output.startswith("usage:"), f"{path.name}: {output}"
