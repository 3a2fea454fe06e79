"""Values from YAML against the annotations of settings: ``float | Literal['matched']``."""

import ast
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "Sequence[int]": (list,),
    "dict": (dict,),
}
"""Annotation of a setting to the types of YAML that fit it."""


def fits(value: Any, annotation: str) -> bool:
    """Whether a value has the type of an annotation, or is one of the words that it allows beside it."""
    return any(_fits_one(value, each) for each in _alternatives(annotation))


def _fits_one(value: Any, plain: str) -> bool:
    if plain.startswith("Literal["):
        return value in choices(plain)
    if plain == "None":
        return value is None
    if plain == "Sequence[int]" and isinstance(value, list):
        return bool(value) and all(type(each) is int for each in value)
    if plain not in TYPES:
        return True
    return isinstance(value, TYPES[plain]) and (plain == "bool" or not isinstance(value, bool))


def _alternatives(annotation: str) -> list[str]:
    """The parts of ``float | Literal['a', 'b'] | None``."""
    node, parts = ast.parse(annotation or "Any", mode="eval").body, []
    while isinstance(node, ast.BinOp):
        parts.append(ast.unparse(node.right))
        node = node.left
    return [ast.unparse(node), *reversed(parts)]


def choices(annotation: str) -> tuple[str, ...]:
    """The values that ``Literal['a', 'b']`` allows; none for annotations that allow anything else."""
    parts = [part for part in _alternatives(annotation) if part != "None"]
    if not all(part.startswith("Literal[") for part in parts):
        return ()
    listed = (ast.literal_eval(f"({part.removeprefix('Literal[').removesuffix(']')},)") for part in parts)
    return tuple(value for values in listed for value in values)
