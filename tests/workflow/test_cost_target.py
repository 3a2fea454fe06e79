"""`snakemake cost` knows what the paper's study costs, without its data: the tables that docs/cluster.md prints."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from test_workflow import environment_of_jobs

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.workflow


def printed_tables() -> list[str]:
    """The tables of the documentation, in their order: one seed, five seeds."""
    section = (ROOT / "docs/cluster.md").read_text("utf-8").partition("## What the paper's study costs\n")[2]
    return re.findall(r"^```text\n(.*?)^```$", section.partition("\n## ")[0], re.M | re.S)


@pytest.mark.parametrize(("seeds", "number"), [("[0]", 0), ("[0, 1, 2, 3, 4]", 1)])
def test_the_papers_study_costs_what_is_printed(tmp_path, seeds, number):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1", "cost"]
    (tmp_path / "seeds.yaml").write_text(f"seeds: {seeds}\n")
    command += ["--configfile", str(ROOT / "config/paper.yaml"), "seeds.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment_of_jobs(), capture_output=True, text=True, timeout=300)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-6000:]
    assert printed_tables()[number] in text
    assert "its number of faces is unknown" in text
    table = pd.read_csv(tmp_path / "results/paper/cost.csv").set_index("stage")
    runs = len(seeds.split(","))
    assert table.loc["train teacher", "images"] == 100_000 * 480
    assert table.loc["train student", "images"] == 100_000 * 480 * runs
    assert table.loc["distill", "images"] == 34_000 * 180 * 5 * runs
    assert table.loc["train teacher", "gpu_hours"] == pytest.approx(48_000_000 / 1917 / 3600)
    assert table.loc["distill", "gpu_hours"] == pytest.approx(30_600_000 * runs / 5118 / 3600)
    assert not (tmp_path / "results/paper/faces").exists()
