"""Which changes affect the code version of a script, and which do not."""

import ast
from pathlib import Path

import pytest

from triplet_distillation import provenance

SCRIPT = Path(__file__).parents[1] / "workflow/scripts/train.py"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package: script → a → b; c is loaded by name at run time."""
    folder = tmp_path / "triplet_distillation"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "a.py").write_text("from triplet_distillation import b\n\ndef f():\n    return b.g()\n")
    (folder / "b.py").write_text('"""Doc."""\n\ndef g():\n    """Doc."""\n    return 1\n')
    (folder / "c.py").write_text("x = 1\n")
    (tmp_path / "script.py").write_text("from triplet_distillation.a import f\nf()\n")
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    provenance._parsed.cache_clear()
    yield tmp_path
    provenance._parsed.cache_clear()


def version(package, *modules):
    provenance._parsed.cache_clear()
    return provenance.code_version(package / "script.py", *modules)


def test_indirectly_imported_code_counts(package):
    before = version(package)
    path = package / "triplet_distillation/b.py"
    path.write_text(path.read_text().replace("return 1", "return 2"))
    assert version(package) != before


def test_comments_docstrings_and_formatting_do_not_count(package):
    before = version(package)
    path = package / "triplet_distillation/b.py"
    path.write_text('"""Another."""\n\n\ndef g():\n    """Other\n    words."""\n    return (1)  # one\n')
    assert version(package) == before


def test_unused_module_counts_only_if_named(package):
    before, named = version(package), version(package, "c")
    (package / "triplet_distillation/c.py").write_text("x = 2\n")
    assert version(package) == before
    assert version(package, "c") != named


def test_training_script_depends_on_the_loop_but_not_on_losses_or_figures():
    provenance._parsed.cache_clear()
    provenance.code_version(SCRIPT)
    pending, seen = [SCRIPT], set()
    while pending:
        path = pending.pop()
        if path not in seen:
            seen.add(path)
            pending += provenance._parsed(path)[1]
    names = {path.name for path in seen}
    assert {"engine.py", "sampling.py", "store.py"} <= names
    assert not names & {"arcface.py", "triplet.py", "iresnet.py", "figures.py", "tables.py", "verification.py"}


def test_digest_ignores_key_order():
    assert provenance.digest({"a": 1, "b": 2}) == provenance.digest({"b": 2, "a": 1})


def test_relative_imports_count(package):
    folder = package / "triplet_distillation"
    (folder / "a.py").write_text("from . import b\nfrom .c import x\n\ndef f():\n    return b.g() + x\n")
    before = version(package)
    (folder / "c.py").write_text("x = 2\n")
    changed = version(package)
    (folder / "b.py").write_text("def g():\n    return 3\n")
    assert len({before, changed, version(package)}) == 3


def reworded(text: str) -> str:
    """Source text in which everything that only people read says something else."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        spoken = []
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            spoken = [*node.exc.args]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            root = function.value if isinstance(function, ast.Attribute) else function
            if getattr(root, "id", "") in ("log", "logging", "summary"):
                spoken = [*node.value.args]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "progress":
            spoken = [*node.args[1:]]
        elif isinstance(node, ast.Assert) and node.msg:
            spoken = [node.msg]
        for argument in spoken:
            for each in ast.walk(argument):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    each.value += " (in other words)"
    return ast.unparse(tree)


MODULES = ("training/engine.py", "faces/align.py", "faces/download.py", "training/guards.py", "evaluation/embed.py")


@pytest.mark.parametrize("module", MODULES)
def test_rewording_messages_of_a_module_changes_no_digest(module, tmp_path):
    source = (provenance.PACKAGE / module).read_text()
    assert reworded(source) != ast.unparse(ast.parse(source))
    assert provenance._content(ast.parse(reworded(source))) == provenance._content(ast.parse(source))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = f'a{y}'", "x = f'b{y}'"),
        ("f('column')", "f('row')"),
        ("raise ValueError(1) from a", "raise ValueError(1) from b"),
        ("raise ValueError(1)", "raise KeyError(1)"),
        ("for x in progress(a, 'b'): pass", "for x in progress(c, 'b'): pass"),
        ("assert x, 'm'", "assert y, 'm'"),
        ("x = 1", "x = 1.0"),
        ("x = 'None'", "x = None"),
        ("x = b'a'", "x = 'a'"),
        ("def f(*, a, b=1): pass", "def f(*, a=1, b): pass"),
        ("print(x, file=table)", "print(y, file=table)"),
        ("warnings.simplefilter('error')", "warnings.simplefilter('ignore')"),
    ],
)
def test_code_that_does_something_else_has_another_digest(before, after):
    assert provenance._content(ast.parse(before)) != provenance._content(ast.parse(after))


def test_digest_does_not_depend_on_fields_that_a_version_of_python_adds():
    before = ast.parse("def f(x): return f'{x:>{3}}'")
    later = ast.parse("def f(x): return f'{x:>{3}}'")
    function = later.body[0]
    function.type_params, function._fields = [], (*function._fields, "type_params")
    function.something_new, function._fields = None, (*function._fields, "something_new")
    assert provenance._content(before) == provenance._content(later)


def test_digests_of_fixed_modules_are_those_that_were_committed(tmp_path):
    """Every version of Python must find them; otherwise an upgrade of Python trains everything again."""
    found = {}
    for name, text in FIXED_MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
        found[name] = provenance.code_version(tmp_path / f"{name}.py")
    assert found == {"plain": "fa3c0ee6d9d20fa8", "typed": "745e79f90c21b04e", "matching": "8f8dd889028467b4"}


FIXED_MODULES = {
    "plain": '"""Doc."""\nimport os\nX = {"a": (1, 2.5, -3j), **os.environ}\nY = [i for i in range(3) if i % 2]\n',
    "typed": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass A:\n    x: int = 0x10\n"
        "    async def f(self, *a, k: str = 'é\\n', **b) -> None:\n        '''Doc.'''\n"
        "        return f'{self.x!r:>{k}} {{}} {a=}' if (n := len(a)) else b'\\x00'\n"
    ),
    "matching": (
        "def f(x):\n    match x:\n        case {'a': [1, *r]} | None:\n            return lambda: (yield)\n"
        "        case str() as s if s:\n            raise ValueError(f'no {s}')\n    try:\n        del x\n"
        "    except* OSError:\n        global y\n    return 1e-3, 1_000, ..., x[1:2, ::3]\n"
    ),
}
