"""Griffe extension: the library's docstrings as Markdown.

Roles (``:func:`.store.write```) become links to the API, or code if the API's pages do not show their target;
``a, b: text`` among the arguments becomes one entry for each of the two.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from griffe import Alias, Extension, Module, Object

ROLE = re.compile(r":(?:mod|class|func|meth|data):`\.?([\w.]+)`")
SEVERAL = re.compile(r"^( *)(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)", re.MULTILINE)


class DocstringRoles(Extension):
    """Rewrites all docstrings of a package when it is loaded, so that every target is known."""

    def on_package(self, *, pkg: Module, **kwargs: object) -> None:
        """Rewrite the docstrings of ``pkg``."""
        documented = [each for each in _objects(pkg) if each.docstring]
        targets = _targets(documented)
        for each in documented:
            each.docstring.value = as_markdown(each.docstring.value, each.path, targets)


def _objects(parent: Object) -> Iterator[Object]:
    yield parent
    for member in parent.members.values():
        if not isinstance(member, Alias):
            yield from _objects(member)


def _targets(documented: Sequence[Object]) -> Mapping[str, list[str]]:
    """Every ending of a public object's path, such as ``store.write``, to all paths that have it."""
    found = defaultdict(list)
    for path in (each.path for each in documented):
        parts = path.split(".")
        if not any(part.startswith("_") for part in parts):
            for start in range(len(parts)):
                found[".".join(parts[start:])].append(path)
    return found


def as_markdown(text: str, path: str, targets: Mapping[str, list[str]]) -> str:
    """The docstring of the object at ``path`` as Markdown; of several targets, a role means the one closest to it."""

    def link(role: re.Match) -> str:
        paths = sorted(targets.get(role[1], ()), key=lambda target: _names_in_common(target, path))
        return f"[`{role[1]}`][{paths[-1]}]" if paths else f"`{role[1]}`"

    def entries(several: re.Match) -> str:
        return "\n".join(f"{several[1]}{name}: {several[3]}" for name in several[2].split(", "))

    return ROLE.sub(link, SEVERAL.sub(entries, text))


def _names_in_common(one: str, other: str) -> int:
    """How many names two paths start with in common."""
    return sum(1 for _ in takewhile(lambda names: names[0] == names[1], zip(one.split("."), other.split("."))))
