"""Digests of code, settings and files, and versions of libraries: they say how a result was made."""

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

PACKAGE = Path(__file__).parent
EXCLUDED_MODULES = {"logs.py", "sharing.py"}
"""Modules that never affect a result: terminal and log, and where results are kept."""
MESSAGE_FUNCTIONS = {"summary", "log", "logging"}
"""Functions, and objects with methods, that only tell people something. ``print`` may write a file, and ``warnings``
may be told to stop a job: they count."""
LIBRARIES = ("torch", "numpy", "opencv-python-headless", "onnxruntime", "mtcnn")
"""Those that compute results: another version of one may round differently."""


@cache
def library_versions() -> dict[str, str]:
    """Version of every library that computes results, of those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cpu_name() -> str:
    """The CPU's own name for itself, on Linux; the architecture elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def digest(content: object) -> str:
    """SHA-256 (hex) of JSON content, regardless of the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


LARGE = 1 << 26
"""Bytes of a file whose digest is remembered, so that a process reads it once."""
SETTLED = 2 * 10**9
"""Nanoseconds for which a file has not been written: file systems tell times apart no better than that."""
_known: dict[tuple[int, ...], str] = {}
"""Digests of large files, by what changes with a file's content."""


def file_digest(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes.

    A large file is read once by a process, also under several names, as long as it is not written.
    """
    with Path(path).open("rb") as opened:
        before, now = os.fstat(opened.fileno()), time.time_ns()
        is_large = before.st_size >= LARGE
        key = (before.st_dev, before.st_ino, before.st_size, before.st_mtime_ns)
        if is_large and key in _known:
            return _known[key]
        found = hashlib.file_digest(opened, "sha256").hexdigest()
        is_same = os.fstat(opened.fileno()).st_mtime_ns == before.st_mtime_ns
    if is_large and is_same and now - before.st_mtime_ns > SETTLED:
        _known[key] = found
    return found


def file_record(path: str | Path) -> dict:
    """What to keep about a large file, so that :func:`recorded_digest` need not read it again: size (bytes), time (s)
    and ``sha256``."""
    return {**file_stamp(path), "sha256": file_digest(path)}


def file_stamp(path: str | Path) -> dict[str, int]:
    """Size (bytes) and time (s) of a file."""
    found = Path(path).stat()
    return {"size": found.st_size, "time": int(found.st_mtime)}


def recorded_digest(path: str | Path, record: Mapping) -> str:
    """SHA-256 (hex) of a file's bytes, which are only read if it is no longer what ``record`` is about."""
    return record["sha256"] if record.items() >= file_stamp(path).items() else file_digest(path)


class ArrayInBlocks(Protocol):
    """An array that is larger than memory, such as a :class:`.row_files.RowFile`."""

    dtype: np.dtype
    shape: tuple[int, ...]

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, some at a time."""
        ...


def array_digest(arrays: Mapping[str, np.ndarray | ArrayInBlocks]) -> str:
    """SHA-256 (hex) of named arrays: their names, types, shapes and bits, in the order of their names."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        for block in [array] if isinstance(array, np.ndarray) else array.blocks():
            found.update(np.ascontiguousarray(block).data)
    return found.hexdigest()


def code_version(script: str | Path, *modules: str) -> str:
    """Digest of a script's code and of every module that it imports from this package, directly or indirectly.

    Args:
        script: path of the script.
        modules: further modules below the package that it loads by name at run time
            (``losses.triplet``).

    Only the syntax trees count: comments, docstrings, messages (of errors, logs, progress bars), layout and file times
    do not. The version of Python does not, either.
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
    """A file's syntax tree as text, and the files that it imports from this package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [_imported_path(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute_name(path, node)
            imported += [_imported_path(name) for name in [module, *(f"{module}.{alias.name}" for alias in node.names)]]
    return f"{path.name} {_content(tree)}", tuple(path for path in imported if path)


def _content(node: object) -> str:
    """A syntax tree as text, without what only people read.

    Unlike ``ast.dump``'s, the text is the same under every version of Python: fields without content are left out.
    """
    match node:
        case ast.Constant(value=value):
            return repr(value)
        case ast.Raise(exc=ast.Call() as error):
            return f"raise {_content(error.func)} from {_content(node.cause)}"
        case ast.Assert(test=test):
            return f"assert {_content(test)}"
        case ast.Call(func=ast.Name(id="progress"), args=[items, *_]):
            return f"progress {_content(items)}"
        case ast.AST():
            fields = ((name, value) for name, value in ast.iter_fields(node) if name != "type_comment")
            content = ((name, _content(value)) for name, value in fields if value is not None and value != [])
            return f"{type(node).__name__}({', '.join(f'{name}={text}' for name, text in content)})"
        case list():
            return f"[{', '.join(_content(each) for each in node if not _only_people_read(each))}]"
    return repr(node)


def _only_people_read(node: object) -> bool:
    """Whether a statement is a docstring, a string that serves as a comment, or a call that shows a message."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id=name)))):
            return name in MESSAGE_FUNCTIONS
    return False


def _absolute_name(path: Path, node: ast.ImportFrom) -> str:
    """The module that a file imports from, also where it says so relative to itself."""
    if not node.level or not path.is_relative_to(PACKAGE):
        return node.module or ""
    parents = path.relative_to(PACKAGE.parent).parts[: -node.level]
    return ".".join([*parents, *([node.module] if node.module else [])])


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
