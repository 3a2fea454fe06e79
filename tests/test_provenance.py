"""Which changes affect the code version of a script, and which do not."""

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
