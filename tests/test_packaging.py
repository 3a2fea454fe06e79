"""The pinned versions agree in all places, and the README has exactly the two commands it promises."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normalize_name(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned_versions():
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return {normalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_every_dependency_is_pinned():
    required = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    names = {normalize_name(re.match(r"[A-Za-z0-9_.-]+", requirement)[0]) for requirement in required}
    assert names <= pinned_versions().keys()
    assert "torchvision" not in pinned_versions()


def test_conda_environment_has_the_same_versions():
    environment = yaml.safe_load((ROOT / "envs/study.yaml").read_text())
    listed = dict(
        re.match(r"([A-Za-z0-9_-]+)(?:\[\w+\])?==(.+)", requirement).groups()
        for requirement in environment["dependencies"][-1]["pip"]
    )
    required = {normalize_name(re.match(r"[A-Za-z0-9_.-]+", requirement)[0]) for requirement in PROJECT["dependencies"]}
    assert {normalize_name(name) for name in listed} == required
    assert all(pinned_versions()[normalize_name(name)] == version for name, version in listed.items())


def test_mxnet_environment_has_the_same_versions_with_and_without_conda():
    environment = yaml.safe_load((ROOT / "envs/mxnet.yaml").read_text())
    assert environment["dependencies"][-1]["pip"] == (ROOT / "envs/mxnet.txt").read_text().splitlines()[1:]


def test_readme_has_exactly_two_setup_commands():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^```bash (run|test)\n(.+)\n```$", readme, re.MULTILINE)
    assert [kind for kind, _ in commands] == ["run", "test"]
    assert all("-c constraints.txt" in command for _, command in commands)
    assert readme.count("pip install") == 2


def test_workflow_scripts_are_thin():
    for path in (ROOT / "workflow/scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) < 35, f"{path.name} is not a thin script"
