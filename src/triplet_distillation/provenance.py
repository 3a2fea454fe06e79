"""Digests of code, settings and files: what decides whether a result is still valid."""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
NO_PART_OF_RESULTS = {"logs.py"}
"""Modules that only talk to the screen and the log."""


def digest(content: object) -> str:
    """SHA-256 (hex) of JSON content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def code_version(script: str | Path, *modules: str) -> str:
    """Digest of the code that a script runs: its own and that of every module it imports from this package.

    Args:
        script: path of the script.
        modules: further modules that it finds by name at run time, below the package
            (``losses.triplet``).

    Comments, docstrings and layout do not count, nor do files' times: only the syntax
    trees. Imports are followed through the package.
    """
    wanted, seen = [Path(script), *(_module_path(module.split(".")) for module in modules)], {}
    while wanted:
        path = wanted.pop()
        if path not in seen and path.name not in NO_PART_OF_RESULTS:
            seen[path], imported = _parsed(path)
            wanted += imported
    return digest(sorted(seen.values()))[:16]


@cache
def _parsed(path: Path) -> tuple[str, tuple[Path, ...]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [_package_path(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.append(_package_path(node.module))
            imported += [_package_path(f"{node.module}.{alias.name}") for alias in node.names]
        body = getattr(node, "body", None)
        if isinstance(body, list):  # the docstring, wherever one can stand, and strings that stand as comments
            node.body = [each for each in body if not _is_string(each)] or [ast.Pass()]
    return f"{path.name} {ast.dump(tree)}", tuple(path for path in imported if path)


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _package_path(name: str) -> Path | None:
    top, *parts = name.split(".")
    return _module_path(parts) if top == PACKAGE.name else None


def _module_path(parts: list[str]) -> Path | None:
    module = PACKAGE.joinpath(*parts)
    return next((path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file()), None)
