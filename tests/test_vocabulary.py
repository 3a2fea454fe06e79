"""Code, rules and configuration use the terms of docs/glossary.md: old names do not come back in their old roles."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "src/triplet_distillation"
PYTHON = sorted([*LIBRARY.rglob("*.py"), *(ROOT / "workflow/scripts").glob("*.py")])
RULES = sorted([ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")])
CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]

OLD_EVERYWHERE = (
    r"fmr|\w+_fmr|bring|BROUGHT|brought|nobody|gather|gather_shards|among|joined|with_shared_statistics"
    r"|first_before_others|any_process|meeting|Processes|Stopped|told|_told_to_stop|Batches|singles|Identities|Given"
    r"|given|needs|hinge|of_batch|of_teacher|OF_COSINE|selection|SELECTIONS|hardest|sampled|centres?|whole|room\w*|ENTRY"
    r"|nearest|NO_PART_OF_\w+|\w*photographs?\w*|\w*Photographs?|people\w*|\w+_people|Aligned|AlignedFace|store_as_it_is"
    r"|FLAGS|worst|accuracy_deviation|Unit|UNITS|convolution|\w*optimiser\w*|\w*colours?\w*|COLOURS|licen[c]e"
    r"|\w*normalis\w*|grey|holds_its_weights|_prepared|_resumed|_step|mirrored|tar_at_fmr|far_at\w*"
)
"""Names that are not used for anything any more."""
OLD_IN = {
    r"figures": ("evaluation/*.py", "deployment/*.py", "reporting/tables.py", "reporting/findings.py"),
    r"mirror": ("training/*.py", "evaluation/*.py", "deployment/*.py", "settings.py"),
    r"benchmarks?": ("logs.py",),
    r"value|rate": ("training/engine.py", "training/guards.py", "training/schedule.py"),
    r"own": ("training/*.py",),
    r"processes": ("training/engine.py", "training/batches.py"),
    r"share|change": ("training/*.py",),
    r"shared|wanted": ("training/*.py", "workflow/scripts/*.py"),
    r"number": ("losses/*.py", "training/distributed.py", "training/calibration.py"),
    r"flag": (
        "faces/store.py",
        "faces/align.py",
        "faces/split.py",
        "faces/quality.py",
        "faces/export.py",
        "deployment/*",
    ),
    r"Run|run": ("training/engine.py",),
    r"last": ("networks/mobilefacenet.py",),
    r"prepare": ("networks/*.py", "evaluation/*.py", "training/*.py"),
    r"Face": ("faces/*.py",),
    r"engine": ("faces/*.py", "faces/detectors/*.py"),
}
"""Names that are good words elsewhere, to the files in which they had another role."""
ALLOWED = {
    **{f"losses/{name}.py": {"gather"} for name in ("softmax", "functions", "darkrank")},
    "configuration.py": {"hardest"},
}
"""torch's own word, and a hint for whoever still writes the old one."""
OLD_KEYS = r"engine|people|colour_order|last|sampled|selection|number|identities|images|singles|mirror|licence|fmr"
"""Keys of the configuration that were renamed, unless :data:`KEYS_THAT_STAY` has the path."""
KEYS_THAT_STAY = {"downloads.mirror", "benchmarks.*.held_out.identities"}
VERBS = [
    "acquire",
    "average",
    "compare",
    "list",
    "hash",
    "reproduce",
    "align",
    "merge",
    "make",
    "train",
    "import",
    "embed",
    "calibrate",
    "match",
    "distill",
    "evaluate",
    "profile",
    "plot",
    "write",
    "export",
    "create",
    "read",
    "check",
]
TARGETS = {
    "all",
    "faces",
    "models",
    "table1",
    "table2",
    "figures",
    "report",
    "packs",
    "pack_checks",
    "cost",
    "crate",
    "template",
}


def identifiers(tree: ast.AST) -> set[str]:
    """Every name in a syntax tree, and every string that could be one (keys, columns)."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            found.add(node.arg)
        elif isinstance(node, ast.alias):
            found |= {*node.name.split("."), node.asname or ""}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)
    return found


def old_names(names: set[str], path: str) -> set[str]:
    """The names that are old where they are; ``path`` is relative to the library or the repository."""
    patterns = [OLD_EVERYWHERE, *(old for old, files in OLD_IN.items() if any(Path(path).match(f) for f in files))]
    return {name for name in names if any(re.fullmatch(pattern, name) for pattern in patterns)} - ALLOWED.get(
        path, set()
    )


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_old_name_in_python(path):
    relative = path.relative_to(LIBRARY if path.is_relative_to(LIBRARY) else ROOT)
    assert not old_names(identifiers(ast.parse(path.read_text())), str(relative))


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_no_old_name_in_rules(path):
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    names = {token.string for token in tokens if token.type == tokenize.NAME}
    assert not old_names(names, str(path.relative_to(ROOT)))


def test_an_old_name_would_be_found():
    code = "def hinge(loss):\n    return loss\n"
    assert old_names(identifiers(ast.parse(code)), "losses/triplets.py") == {"hinge"}
    assert old_names({"value", "rate"}, "training/engine.py") == {"value", "rate"}
    assert old_names({"value", "rate", "label"}, "faces/store.py") == set()
    assert old_names({"gather"}, "losses/softmax.py") == set()
    assert old_names({"gather"}, "faces/store.py") == {"gather"}


def keys(entry, path=""):
    """Every key below ``entry``, as a dotted path with ``*`` for names of the user's choice."""
    for key, value in entry.items() if isinstance(entry, dict) else ():
        yield f"{path}{key}"
        chosen = path == "" and key in ("datasets", "benchmarks", "networks", "methods")
        for each in value.values() if chosen else (value,):
            yield from keys(each, f"{path}{key}.*." if chosen else f"{path}{key}.")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_no_old_key_in_a_configuration(path):
    found = [key for key in keys(yaml.safe_load(path.read_text())) if re.fullmatch(OLD_KEYS, key.rsplit(".", 1)[-1])]
    assert set(found) <= KEYS_THAT_STAY


def test_rules_are_verbs_and_targets_are_nouns():
    text = "\n".join(path.read_text() for path in RULES)
    names = re.findall(r"^(?:use rule \w+ as|rule) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 30
    assert {name for name in names if name.split("_")[0] not in VERBS} == TARGETS


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_functions_have_at_most_six_parameters(path):
    """Keyword-only arguments of a plug-in are its settings and do not count."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            arguments = [each.arg for each in [*node.args.posonlyargs, *node.args.args] if each.arg != "self"]
            assert len(arguments) <= 6, f"{path.name}: {node.name} has {len(arguments)} parameters"
