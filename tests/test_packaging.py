"""The three places that name versions agree, and the README's commands are the two it promises."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned():
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return {normalised(name): version for name, version in (line.split("==") for line in lines)}


def test_every_dependency_is_pinned():
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    names = {normalised(re.match(r"[A-Za-z0-9_.-]+", each)[0]) for each in wanted}
    assert names <= pinned().keys()
    assert "torchvision" not in pinned()


def test_the_conda_environment_has_the_same_versions():
    environment = yaml.safe_load((ROOT / "envs/study.yaml").read_text())
    listed = dict(
        re.match(r"([A-Za-z0-9_-]+)(?:\[\w+\])?==(.+)", each).groups()
        for each in environment["dependencies"][-1]["pip"]
    )
    wanted = {normalised(re.match(r"[A-Za-z0-9_.-]+", each)[0]) for each in PROJECT["dependencies"]}
    assert {normalised(name) for name in listed} == wanted
    assert all(pinned()[normalised(name)] == version for name, version in listed.items())


def test_mxnets_environment_has_the_same_versions_for_conda_and_without():
    environment = yaml.safe_load((ROOT / "envs/mxnet.yaml").read_text())
    assert environment["dependencies"][-1]["pip"] == (ROOT / "envs/mxnet.txt").read_text().splitlines()[1:]


def test_the_readme_has_exactly_two_commands_that_set_things_up():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^```bash (run|test)\n(.+)\n```$", readme, re.MULTILINE)
    assert [kind for kind, _ in commands] == ["run", "test"]
    assert all("-c constraints.txt" in command for _, command in commands)
    assert readme.count("pip install") == 2


def test_scripts_are_thin():
    for path in (ROOT / "workflow/scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) < 25, f"{path.name} is not a thin script"
