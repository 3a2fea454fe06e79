"""The documentation says what the code does; the commands of the tutorial are run in tests/workflow."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np

from triplet_distillation import configuration, methods, registry

ROOT = Path(__file__).parents[1]
SCHEMA = configuration.read_yaml(ROOT / "workflow/schemas/config.schema.yaml")


def load(name: str):
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_of_methods_is_up_to_date_and_complete():
    module = load("write_methods")
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.page(), "run python docs/write_methods.py"
    for name in registry.names("losses"):
        section = page.split(f"`loss: {name}`")[1].split("\n### ")[0]
        assert all(f"`{setting}`" in section for setting in registry.arguments("losses", name))
        assert "Source: " in section
    assert ":data:" not in page
    assert ":func:" not in page


def reference() -> dict[str, str]:
    """Every key of the page of configuration, with its path, to what stands in parentheses behind it."""
    found, paths = {}, []
    for line in (ROOT / "config/README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            paths = [f"{path}." for path in re.findall(r"`([^`]+)`", line)] or [""]
        elif entry := re.match(r"- \*\*`(\w+)`\*\* \((.*?)\): .", line):
            found |= {path + entry[1]: entry[2] for path in paths}
    return found


def keys_of(schema: dict, path: str = ""):
    """Paths of all keys of the schema, with ``<name>`` for names that a study chooses; those of a training once."""
    if schema.get("$ref") == "#/$defs/first_stage":
        yield from keys_of(SCHEMA["$defs"]["first_stage"], path)
    for name, each in schema.get("properties", {}).items():
        yield path + name
        yield from keys_of(each, f"{path}{name}.")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from keys_of(schema["additionalProperties"], f"{path}<name>.")


def test_page_of_configuration_is_up_to_date_and_has_every_key():
    module = load("write_configuration")
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.page(), "run python docs/write_configuration.py"
    expected = {*keys_of(SCHEMA), *keys_of(SCHEMA["$defs"]["training"], "training.")}
    assert set(reference()) == expected
    assert all(f"`{key}" in page for key in methods.METHOD_KEYS)
    for package in registry.PLUGIN_CLASS:
        for name in registry.names(package):
            entry = page.split(f"- **`{name}`**: ")[1].split("\n- **")[0]
            assert all(f"`{setting}` (" in entry for setting in registry.arguments(package, name)), name


NETWORK = {"architecture": "mobilefacenet"}
SHORTEST_STUDY = {
    "study": "shortest",
    "datasets": {"faces": {"source": "orl"}, "others": {"source": "lfw"}},
    "training_data": {"dataset": "faces"},
    "benchmarks": {
        "drawn": {"dataset": "faces", "held_out": {"identities": 4, "folds": 2}},
        "published": {"dataset": "others", "published": {}},
        "own": {"dataset": "faces", "pairs": {"file": "pairs.csv"}},
    },
    "networks": {"iresnet100": NETWORK, "mobilefacenet": NETWORK, "slim": NETWORK},
    "teacher": {"network": "slim"},
    "student": {"network": "slim"},
    "methods": {"mine": {"loss": "triplet", "margin": 0.3}},
    "models": {"other": {"network": "slim", "training": {}}},
}
CHOSEN_NAMES = {"datasets", "benchmarks", "networks", "methods", "models"}


def defaults(resolved: dict, written: dict, path: str = ""):
    """Path and value of all that is in the resolved study, but is not written in it."""
    for name, value in resolved.items():
        key = path + ("<name>" if path.rstrip(".") in CHOSEN_NAMES else name)
        key = re.sub(r"^(teacher|student|second_stage|models\.<name>)\.training\b", "training", key)
        if name not in written:
            yield key, value
        if isinstance(value, dict):
            yield from defaults(value, written.get(name, {}), f"{key}.")


def test_page_of_configuration_has_the_defaults_that_are_filled_in():
    documented = reference()
    text = load("write_methods").as_yaml
    checked = 0
    for key, value in defaults(configuration.resolve(SHORTEST_STUDY, SCHEMA), SHORTEST_STUDY):
        parent = key.rpartition(".")[0]
        if key == "training" or (isinstance(value, dict) and "default" not in documented[key]):
            continue  # its own keys follow
        if "default `{" in documented.get(parent, ""):
            continue  # stated with its parent
        assert f"default `{text(value)}`" in documented[key], key
        checked += 1
    assert checked >= 70


def test_home_page_has_the_commands_of_the_readme():
    commands = [
        re.findall(r"^```bash.*\n(python3 -m venv .*)\n```$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("README.md", "docs/index.md")
    ]
    assert len(commands[0]) == 2
    assert commands[0] == commands[1]


def test_tutorial_has_the_example_of_own_photographs():
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("your-photographs.md", "tutorial.md")]
    (example,) = re.findall(r"```yaml\n(.*?)```", pages[0], re.DOTALL)
    assert f"```yaml\n# photos.yaml\n{example}```" in pages[1]


def test_every_package_that_builds_the_site_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.match(r"[\w-]+", each)[0] for each in project["optional-dependencies"]["docs"]]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(any(line.startswith(f"{name}==") for line in pinned) for name in [*names, "mkdocstrings-python"])


def test_every_page_is_in_the_navigation_and_every_module_in_the_api():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in navigation
    shown = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/api").glob("*.md"))
    library = ROOT / "src/triplet_distillation"
    for path in [*library.glob("[!_]*.py"), *(each.parent for each in library.glob("*/__init__.py"))]:
        assert f"::: triplet_distillation.{path.stem}\n" in shown


SAID_BY_OTHERS = {
    "Config entry must start with a valid identifier",
    "No such file or directory",
    "No such file or directory: 'table2'",
    "Directory cannot be locked",
}
SAID_BY_OTHERS |= {"No space left on device"}


def messages() -> list[str]:
    """All texts of the library, with ``…`` where a value goes in."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_troubleshooting_quotes_what_the_workflow_says():
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    quoted = {quote for row in rows if len(row) == 3 for quote in re.findall(r"`([^`]+)`", row[1])}
    known = messages()
    long = [quote for quote in quoted - SAID_BY_OTHERS if len(quote.split()) > 2]
    assert len(long) >= 10
    for quote in long:
        pieces = [piece.strip(" .?") for piece in re.split(r"…|'[^']*'|\(str\)", quote)]
        assert any(all(piece in text for piece in pieces) for text in known), quote


def test_own_photographs_run_as_printed(tmp_path):
    """The example, on nine people, looked through by the workflow itself."""
    page = (ROOT / "docs/your-photographs.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(example.splitlines()) <= 10
    (tmp_path / "photos.yaml").write_text(example, encoding="utf-8")
    for person in range(9):
        (tmp_path / f"photos/person {person}").mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng([person, number]).integers(0, 256, (96, 96, 3)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / f"photos/person {person}/{number}.jpg"), pixels)
    commands = re.findall(r"^snakemake (--cores all --configfile .*)$", page, re.MULTILINE)
    assert len(commands) == 2
    for command in (commands[0], f"{commands[1]} -n"):
        arguments = ["--snakefile", str(ROOT / "Snakefile"), *shlex.split(command)]
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "results/photos/faces").exists()
