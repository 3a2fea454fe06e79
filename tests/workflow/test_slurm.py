"""A reduced study through profiles/slurm: interrupted trainings resume, with the same bits. The test starts a SLURM."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import slurm
from test_workflow import SMALL, Study, environment_of_jobs

pytestmark = pytest.mark.workflow
METHODS = ("triplet_0.3", "triplet_distillation")
STEPS = 100
LONG = {"iterations": STEPS, "checkpoint_every": 10, "loader_workers": 2, "sampling": {"p": 4, "k": 3}}
"""Steps enough to be interrupted, a few seconds."""
OPTIONS = ("--slurm-init-seconds-before-status-checks", "1", "--slurm-status-command", "squeue", "--slurm-no-account")
"""What a SLURM without accounting needs; and jobs of seconds are asked for sooner."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The study, made on this machine; what SLURM is to make again is removed."""
    if missing := slurm.missing_programs():
        pytest.skip(f"SLURM is not installed: {', '.join(missing)} not found")
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed: pip install -c constraints.txt '.[slurm]'")
    study = Study(tmp_path_factory.mktemp("study"))
    study.overlay |= {
        "share": False,
        "second_stage": {"training": LONG},
        "methods": SMALL["methods"] | {"triplet_matched": None},
    }
    study.configure()
    study.snakemake("table2", "--executor", "local")
    return study


def running_job(study, method: str, variables: dict[str, str]) -> tuple[str, str]:
    """Number and node of the SLURM job that trains a method, as soon as it has written a checkpoint."""
    checkpoints = study.results / f"students/{method}/seed0/checkpoint"
    deadline = time.monotonic() + 100
    while not list(checkpoints.glob("step*.pt")):
        assert time.monotonic() < deadline, f"{method} is not trained"
        time.sleep(0.05)
    command = ["squeue", "--noheader", "--states=RUNNING", "--format", "%i %N %k"]
    listed = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True).stdout
    ((job, node),) = (line.split()[:2] for line in listed.splitlines() if method in line)
    return job, node


def test_cancelled_and_preempted_trainings_resume_on_slurm_with_the_same_bits(study, tmp_path):
    table = study.results / "tables/table2.csv"
    expected = table.read_bytes()
    for path in (table, study.results / "students", study.results / "evaluation/students"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with slurm.running_slurm(tmp_path / "slurm") as variables, (tmp_path / "screen").open("w") as screen:
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "slurm", *OPTIONS, "table2"]
        snakemake = subprocess.Popen(
            [*command, "--configfile", "small.yaml"],
            cwd=study.root,
            env=environment_of_jobs() | variables,
            stdout=screen,
            stderr=subprocess.STDOUT,
        )
        try:
            clients = {"env": os.environ | variables, "check": True}
            cancelled, _ = running_job(study, METHODS[0], variables)
            subprocess.run(["scancel", cancelled], **clients)
            _, node = running_job(study, METHODS[1], variables)
            urgent = ["sbatch", "--partition=urgent", f"--nodelist={node}", "--exclusive", "--wrap=true"]
            subprocess.run([*urgent, f"--output={tmp_path}/urgent.log"], **clients)
            snakemake.wait(150)
        finally:
            snakemake.terminate()
            snakemake.wait(60)
    text = (tmp_path / "screen").read_text()
    assert snakemake.returncode == 0, text[-4000:]
    assert text.count("Trying to restart job") >= 1, text[-4000:]
    for method in METHODS:
        log = (study.results / f"logs/distill/{method}.seed0.log").read_text()
        resumed = re.search(rf"resuming from step (\d+) of {STEPS}", log)
        assert resumed and 0 < int(resumed[1]) < STEPS, log
    assert table.read_bytes() == expected
