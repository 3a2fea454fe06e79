"""Digests of code, settings and files: they decide whether a result is still valid."""

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

PACKAGE = Path(__file__).parent
EXCLUDED_MODULES = {"logs.py"}
"""Modules that only affect the terminal and the log, and so never a result."""


def digest(content: object) -> str:
    """SHA-256 (hex) of JSON content, regardless of the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def array_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) of named arrays: their names, types, shapes and bits, in the order of their names."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def code_version(script: str | Path, *modules: str) -> str:
    """Digest of a script's code and of every module that it imports from this package, directly or indirectly.

    Args:
        script: path of the script.
        modules: further modules below the package that it loads by name at run time
            (``losses.triplet``).

    Only the syntax trees count: comments, docstrings, layout and file times do not.
    """
    pending, seen = [Path(script), *(_plugin_path(module) for module in modules)], {}
    while pending:
        path = pending.pop()
        if path not in seen and path.name not in EXCLUDED_MODULES:
            seen[path], imported = _parsed(path)
            pending += imported
    return digest(sorted(seen.values()))[:16]


@cache
def _parsed(path: Path) -> tuple[str, tuple[Path, ...]]:
    """A file's syntax tree as text, without docstrings, and the files that it imports from this package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [_imported_path(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute_name(path, node)
            imported += [_imported_path(name) for name in [module, *(f"{module}.{alias.name}" for alias in node.names)]]
        body = getattr(node, "body", None)
        if isinstance(body, list):  # drop docstrings, and strings that serve as comments
            vars(node)["body"] = [each for each in body if not _is_string(each)] or [ast.Pass()]
    return f"{path.name} {ast.dump(tree)}", tuple(path for path in imported if path)


def _absolute_name(path: Path, node: ast.ImportFrom) -> str:
    """The module that a file imports from, also where it says so relative to itself."""
    if not node.level or not path.is_relative_to(PACKAGE):
        return node.module or ""
    parents = path.relative_to(PACKAGE.parent).parts[: -node.level]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported_path(name: str) -> Path | None:
    """The file of a module of this package; None for other packages and for names that are not modules."""
    top, *parts = name.split(".")
    return _module_path(parts) if top == PACKAGE.name else None


def _plugin_path(module: str) -> Path:
    path = _module_path(module.split("."))
    if path is None:
        raise ValueError(f"{PACKAGE.name} has no module {module}")
    return path


def _module_path(parts: list[str]) -> Path | None:
    module = PACKAGE.joinpath(*parts)
    return next((path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file()), None)
