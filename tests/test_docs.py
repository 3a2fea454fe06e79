"""The page of methods is what the docstrings say."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from triplet_distillation import registry

ROOT = Path(__file__).parents[1]


def test_page_of_methods_is_up_to_date_and_complete():
    spec = importlib.util.spec_from_file_location("write_methods", ROOT / "docs/write_methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.page(), "run python docs/write_methods.py"
    for name in registry.names("losses"):
        section = page.split(f"`loss: {name}`")[1].split("\n### ")[0]
        assert all(f"`{setting}`" in section for setting in registry.arguments("losses", name))
        assert "Source: " in section
    assert ":data:" not in page
    assert ":func:" not in page


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
