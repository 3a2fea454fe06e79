"""Plug-ins (losses, networks, data sources, detectors) are found by name: one file each, nothing to register.

A plug-in package has a base class (:data:`PLUGIN_CLASS`), and each of its plug-in
modules defines one public class derived from it, under a name of its own
(``ArcFaceLoss``). A module is imported only when it is used, so that the file of one
method is not part of another method's result. :func:`arguments` reads a class's
settings from its source text, so that a configuration is checked without importing
torch.
"""

import ast
import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PLUGIN_CLASS = {"losses": "Loss", "networks": "Network", "faces.sources": "Source", "faces.detectors": "Detector"}
"""Plug-in package (below ``triplet_distillation``) to the base class of its plug-ins."""

REQUIRED = object()
"""Marks an argument without a default in :func:`arguments`."""


def package_folder(package: str) -> Path:
    """The folder of a plug-in package."""
    return Path(__file__).parent.joinpath(*package.split("."))


def names(package: str) -> list[str]:
    """Names of the plug-ins in ``package`` (their modules), sorted."""
    paths = package_folder(package).glob("[!_]*.py")
    return sorted(path.stem for path in paths if _plugin_class(path, PLUGIN_CLASS[package]))


def suggest(name: object, allowed: Iterable[object]) -> str:
    """A hint such as `` Did you mean 'margin'?``, or an empty string."""
    match = difflib.get_close_matches(str(name), [str(each) for each in allowed], n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


def load(package: str, name: str) -> Any:
    """Import plug-in ``name`` of ``package`` and return its class.

    Raises:
        KeyError: there is no such plug-in; the message lists those that exist.
    """
    known = names(package)
    if name not in known:
        kind = PLUGIN_CLASS[package].lower()
        raise KeyError(f"no {kind} named {name!r}: {package} has {', '.join(known)}.{suggest(name, known)}")
    module = importlib.import_module(f"{__package__}.{package}.{name}")
    return getattr(module, _class_of(package, name).name)


def arguments(package: str, name: str) -> dict[str, tuple[str, Any]]:
    """Settings of plug-in ``name``: each maps to (annotation, default or :data:`REQUIRED`).

    Settings are the keyword-only arguments of ``__init__``; what the program itself
    passes (a loss's context) is positional.
    """
    initializer = next(
        node for node in _class_of(package, name).body if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    found = {}
    for argument, default in zip(initializer.args.kwonlyargs, initializer.args.kw_defaults, strict=True):
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        found[argument.arg] = (annotation, REQUIRED if default is None else ast.literal_eval(default))
    return found


def attribute(package: str, name: str, key: str, default: Any = REQUIRED) -> Any:
    """A literal class attribute of a plug-in (such as a loss's ``requires``), read from its source text.

    Raises:
        KeyError: the class does not set it, and no default is given.
    """
    found = _class_of(package, name)
    for node in found.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == key for t in node.targets):
            return ast.literal_eval(node.value)
    if default is not REQUIRED:
        return default
    raise KeyError(f"class {found.name} in {package.replace('.', '/')}/{name}.py does not define {key!r}")


def _class_of(package: str, name: str) -> ast.ClassDef:
    found = _plugin_class(package_folder(package) / f"{name}.py", PLUGIN_CLASS[package])
    if found is None:
        raise KeyError(f"{package.replace('.', '/')}/{name}.py has no class derived from {PLUGIN_CLASS[package]}")
    return found


def _plugin_class(path: Path, base: str) -> ast.ClassDef | None:
    """The public class in a file that names ``base`` as its base class."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and base in map(_last_name, node.bases):
            return node
    return None


def _last_name(node: ast.expr) -> str:
    """``Loss`` for both ``Loss`` and ``losses.Loss``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
