"""Plug-ins (losses, networks, data sources, detectors) are found by name: one file each, nothing to register.

A plug-in package has a base class (:data:`PLUGIN_CLASS`), and each of its plug-in
modules defines one public class derived from it, under a name of its own
(``ArcFaceLoss``). A module is imported only when it is used, so that the file of one
method is not part of another method's result, and a file that is being written does not
stop a study that does not use it. :func:`arguments` and :func:`attribute` read a class
from its source text, so that a configuration is checked without importing torch.
"""

import ast
import difflib
import functools
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PLUGIN_CLASS = {"losses": "Loss", "networks": "Network", "faces.sources": "Source", "faces.detectors": "Detector"}
"""Plug-in package (below ``triplet_distillation``) to the base class of its plug-ins."""

REQUIRED = object()
"""Marks an argument without a default in :func:`arguments`."""


class PluginError(ValueError):
    """A plug-in's file cannot be used; the message names the file and says what to change."""


def package_folder(package: str) -> Path:
    """The folder of a plug-in package."""
    return Path(__file__).parent.joinpath(*package.split("."))


def names(package: str) -> list[str]:
    """Names of the plug-ins in ``package`` (their modules), sorted."""
    return sorted(path.stem for path in package_folder(package).glob("[!_]*.py") if _is_plugin(package, path.stem))


def _is_plugin(package: str, name: str) -> bool:
    try:
        return bool(_class_of(package, name))
    except PluginError:
        return False


def suggest(name: object, allowed: Iterable[object]) -> str:
    """A hint such as `` Did you mean 'margin'?``, or an empty string."""
    match = difflib.get_close_matches(str(name), [str(each) for each in allowed], n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


def load(package: str, name: str) -> Any:
    """Import plug-in ``name`` of ``package`` and return its class.

    Raises:
        PluginError: there is no such plug-in; the message lists those that exist.
    """
    check(package, name)
    module = importlib.import_module(f"{__package__}.{package}.{name}")
    return getattr(module, _class_of(package, name).name)


def check(package: str, name: str) -> None:
    """Whether plug-in ``name`` of ``package`` can be used.

    Raises:
        PluginError: there is no such file (the message lists those that exist), or something in it is wrong.
    """
    if not name.isidentifier() or not (package_folder(package) / f"{name}.py").is_file():
        known = names(package)
        raise PluginError(f"{name!r} is not one of {', '.join(known)}.{suggest(name, known)}")
    arguments(package, name)
    expected = _literals(_base_class(package))
    for key, node in expected.items():
        default, value = _literal(node, package), attribute(package, name, key)
        if type(value) is not type(default) or not _same_items(value, default):
            raise PluginError(f"{_shown(package, name)}: {key} must be like {default!r}, not {value!r}")
    for key in _literals(_class_of(package, name)).keys() - expected.keys():
        if close := difflib.get_close_matches(key, expected, n=1, cutoff=0.8):
            raise PluginError(f"{_shown(package, name)}: {key} has no meaning. Did you mean {close[0]!r}?")


def _same_items(value: Any, default: Any) -> bool:
    """Whether a tuple has text only, as all of the base classes' have."""
    return not isinstance(default, tuple) or all(isinstance(each, str) for each in value)


def arguments(package: str, name: str) -> dict[str, tuple[str, Any]]:
    """Settings of plug-in ``name``: each maps to (annotation, default or :data:`REQUIRED`).

    Settings are the keyword-only arguments of ``__init__``; what the program itself
    passes (a loss's context) is positional. A class without ``__init__`` has no settings.

    Raises:
        PluginError: a default is not a literal.
    """
    initializers = [
        node for node in _class_of(package, name).body if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]
    found = {}
    for initializer in initializers:
        for argument, default in zip(initializer.args.kwonlyargs, initializer.args.kw_defaults, strict=True):
            annotation = ast.unparse(argument.annotation) if argument.annotation else ""
            where = f"{_shown(package, name)}: the default of {argument.arg}"
            found[argument.arg] = (annotation, REQUIRED if default is None else _literal(default, where))
    return found


def attribute(package: str, name: str, key: str, default: Any = REQUIRED) -> Any:
    """A literal class attribute of a plug-in (such as a loss's ``requires``), or of its base class.

    Raises:
        PluginError: neither sets it, and no default is given; or it is not a literal.
    """
    for found in (_class_of(package, name), _base_class(package)):
        values = _literals(found)
        if key in values:
            return _literal(values[key], f"{_shown(package, name)}: {key}")
    if default is not REQUIRED:
        return default
    raise PluginError(f"{_shown(package, name)}: its class does not define {key!r}")


def defines(package: str, name: str, method: str) -> bool:
    """Whether a plug-in's class defines a method."""
    return any(isinstance(node, ast.FunctionDef) and node.name == method for node in _class_of(package, name).body)


def docstring(package: str, name: str) -> str:
    """The docstring of a plug-in's class, without its indentation; empty if it has none."""
    return ast.get_docstring(_class_of(package, name)) or ""


def _literals(found: ast.ClassDef) -> dict[str, ast.expr]:
    """The attributes that a class sets in its body, with or without an annotation."""
    values = {}
    for node in found.body:
        if isinstance(node, ast.AugAssign) or (
            isinstance(node, ast.Assign) and any(isinstance(target, ast.Tuple) for target in node.targets)
        ):
            raise PluginError(f"class {found.name}: {ast.unparse(node)}: set every attribute in a line of its own")
        if isinstance(node, ast.Assign):
            values |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            values[node.target.id] = node.value
    return values


def _literal(node: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise PluginError(
            f"{where} is {ast.unparse(node)}: write a literal (a number, text, a tuple), as it is read without running "
            "the file"
        ) from error


def _shown(package: str, name: str) -> str:
    return f"{package.replace('.', '/')}/{name}.py"


@functools.lru_cache
def _base_class(package: str) -> ast.ClassDef:
    module = ast.parse((Path(__file__).parent.joinpath(*package.split(".")) / "__init__.py").read_text("utf-8"))
    base = PLUGIN_CLASS[package]
    return next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == base)


def _class_of(package: str, name: str) -> ast.ClassDef:
    base, path = PLUGIN_CLASS[package], package_folder(package) / f"{name}.py"
    try:
        found = _plugin_class(path, base, path.stat().st_mtime_ns)
    except SyntaxError as error:  # also if it is not UTF-8
        raise PluginError(f"{_shown(package, name)} cannot be read: {error.msg}, line {error.lineno}") from error
    if found is None:
        raise PluginError(f"{_shown(package, name)} has no public class that is derived from {base} directly")
    return found


@functools.lru_cache
def _plugin_class(path: Path, base: str, modified: int) -> ast.ClassDef | None:
    """The public class in a file, as last ``modified``, that names ``base`` as its base class."""
    found = [
        node
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and base in map(_last_name, node.bases)
    ]
    if len(found) > 1:
        names = " and ".join(node.name for node in found)
        raise PluginError(
            f"{path.name} has two public classes derived from {base}, {names}: one of them is another file"
        )
    return found[0] if found else None


def _last_name(node: ast.expr) -> str:
    """``Loss`` for both ``Loss`` and ``losses.Loss``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
