"""Losses, networks and data sources are found by name: one file each, nothing to register.

A room is a package whose modules each define one class under the room's entry name
(:data:`ENTRY`). A module is imported only when asked for, so that one method's file
is no part of another method's result. :func:`arguments` reads a class's settings
from its source text, so that a configuration is checked without importing torch.
"""

import ast
import difflib
import importlib
from pathlib import Path

ENTRY = {"losses": "Loss", "networks": "Network", "faces.sources": "Source", "faces.detectors": "Detector"}
"""Room (package below ``triplet_distillation``) to the name of the class that each of its files defines."""

REQUIRED = object()
"""Marks an argument without a default in :func:`arguments`."""


def room_folder(room: str) -> Path:
    return Path(__file__).parent.joinpath(*room.split("."))


def names(room: str) -> list[str]:
    """Names of the modules in ``room`` that define its entry class, sorted."""
    return sorted(path.stem for path in room_folder(room).glob("[!_]*.py") if _entry_class(path, ENTRY[room]))


def nearest(name: str, allowed) -> str:
    """A hint such as `` Did you mean 'margin'?``, or an empty string."""
    match = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


def load(room: str, name: str) -> type:
    """The entry class of module ``name`` in ``room``.

    Raises:
        KeyError: no such module; the message lists those there are.
    """
    if name not in names(room):
        raise KeyError(
            f"no {ENTRY[room].lower()} named {name!r}: {room} has {', '.join(names(room))}.{nearest(name, names(room))}"
        )
    return getattr(importlib.import_module(f"{__package__}.{room}.{name}"), ENTRY[room])


def arguments(room: str, name: str) -> dict[str, tuple[str, object]]:
    """Settings that the entry class of ``room``/``name`` takes: name to (annotation, default or REQUIRED).

    Settings are the keyword-only arguments of ``__init__``; what the program itself
    passes (number of classes, embedding size) is positional.
    """
    initialiser = next(
        node
        for node in _entry_class(room_folder(room) / f"{name}.py", ENTRY[room]).body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    found = {}
    for argument, default in zip(initialiser.args.kwonlyargs, initialiser.args.kw_defaults, strict=True):
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        found[argument.arg] = (annotation, REQUIRED if default is None else ast.literal_eval(default))
    return found


def _entry_class(path: Path, entry: str) -> ast.ClassDef | None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == entry:
            return node
    return None


def attribute(room: str, name: str, wanted: str, default: object = REQUIRED) -> object:
    """A literal class attribute of an entry class (such as a loss's ``needs``), read from its source text.

    Raises:
        KeyError: the class does not set it, and there is no default.
    """
    for node in _entry_class(room_folder(room) / f"{name}.py", ENTRY[room]).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == wanted for t in node.targets):
            return ast.literal_eval(node.value)
    if default is not REQUIRED:
        return default
    raise KeyError(f"class {ENTRY[room]} in {room.replace('.', '/')}/{name}.py does not say what {wanted!r} is")
