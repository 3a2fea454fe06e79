"""The benchmark scripts start: nothing in their folder hides a module of Python's."""

import runpy
import subprocess
import sys
from pathlib import Path

import yaml

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


def test_scale_runs_the_workflows_own_scripts_with_inputs_that_their_rules_count():
    scale = runpy.run_path(str(FOLDER / "scale.py"))
    demands = yaml.safe_load((FOLDER.parent / "workflow/resources.yaml").read_text())
    rules = "".join(path.read_text() for path in (FOLDER.parent / "workflow/rules").glob("*.smk"))
    for stage, job in scale["jobs"](20_000).items():
        assert (FOLDER.parent / f"workflow/scripts/{job.script}.py").is_file(), stage
        assert set(demands[job.rule].get("inputs", [])) <= job.input.keys(), stage
    for rule in demands:
        assert f'memory_of("{rule}"' in rules, rule
        assert f'minutes_of("{rule}")' in rules, rule


def test_scale_extrapolates_a_line_but_not_below_what_was_measured():
    scale = runpy.run_path(str(FOLDER / "scale.py"))
    measured, summarize = scale["Measured"], scale["summarize"]
    growing = summarize("train", measured(100_000, 100.0, 1.0, 0.1), measured(1_000_000, 190.0, 10.0, 1.0))
    assert growing["peak_mib_at_5_8_million"] == 670
    assert growing["peak_mib"] == 190
    falling = summarize("train", measured(100_000, 190.0, 1.0, 0.1), measured(1_000_000, 100.0, 10.0, 1.0))
    assert falling["peak_mib_at_5_8_million"] == 190
