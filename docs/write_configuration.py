"""Write config/README.md from the schema of the configuration and the docstrings of the plug-ins.

Run it after a change of one of them: ``python docs/write_configuration.py``.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "src")]

from write_methods import Setting, as_yaml, plug_in_settings  # noqa: E402

from triplet_distillation import configuration, methods, registry  # noqa: E402

PAGE = ROOT / "config/README.md"
SCHEMA = configuration.read_yaml(ROOT / "workflow/schemas/config.schema.yaml")
INTRODUCTION = """\
# The configuration

A study is one YAML file. `config.yaml` in the root folder is the default study; every other study
is an overlay: `snakemake --cores all --configfile config/mine.yaml` reads `config.yaml`
and then applies `config/mine.yaml` on top, key by key. (Put a target before the option:
`snakemake --cores all table2 --configfile config/mine.yaml`.) An overlay

- should rename the study (`study: mine`), so that its results get their own folder;
- can override any key, and remove an entry of the default study by setting it to null
  (`methods: {triplet_0.3: null}`);
- is checked before anything runs: for an invalid key, type or value, a message names the key,
  what is allowed, and the closest correct name.

Beware of two traps: YAML reads `1e-3` as text (write `1.0e-3`), and nested values set with
`--config` arrive as text (put them into a file).

Every key is below, with its values and its default in parentheses; `<name>` is a name of your choice. This page is
written by `docs/write_configuration.py` from `workflow/schemas/config.schema.yaml` and the docstrings of the plug-ins.
"""


class Section(NamedTuple):
    """A part of the page: what it says first, its keys of the top level or of the schema's ``$defs``, its plug-ins."""

    keys: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    plug_ins: tuple[str, ...] = ()
    introduction: str = ""


SECTIONS = {
    "The study": Section(("study", "title", "seeds", "rounds", "share", "published_hashes")),
    "Data": Section(
        ("datasets", "downloads", "training_data", "benchmarks"),
        plug_ins=("faces.sources", "faces.detectors"),
        introduction="A benchmark needs one of `held_out`, `published` and `pairs`.",
    ),
    "Networks": Section(("networks",), plug_ins=("networks",)),
    "First stage": Section(("teacher", "student"), ("first_stage",)),
    "Second stage": Section(
        ("calibration", "second_stage", "methods", "reference", "ablations", "models"),
        plug_ins=("losses",),
        introduction="""\
`margin: matched` makes a method the control of a distillation: one fixed margin, as large as the distilled ones are on
average over the triplets of the same batches. What distillation adds to its control, the teacher has added; the
rest is the size of the margin. Apart from the margin, the two have the same settings. Where several methods have
margins from the teacher, `matches: <name>` beside it says which one it is the control of.

`ablations` varies one setting of a method at a time. Every value is a training per seed, and a row of a table of its
own with the difference from the method's own value:

```yaml
ablations:
  triplet_distillation:
    distance: [squared_euclidean, cosine]
    d_max: [batch, training_set]
    training.learning_rate: [0.1, 0.05]
```

`models` join the tables, with the same intervals and verdicts. Methods can take them as teachers; a teacher gets no
verdict.""",
    ),
    "Training": Section(
        shared=("training",),
        introduction="""\
The defaults follow the paper's first stage, except `milestones`, which `config/paper.yaml` sets. What the paper does
not state follows ArcFace.

Training stops, with a message that says what to change, if its loss is not finite or diverges, if its embeddings
collapse, if there is not enough memory, if a label has no images, or if the teacher's embeddings come from another
data set or teacher.""",
    ),
    "Evaluation, export, packs, profile, execution": Section(("evaluation", "export", "packs", "profile", "execution")),
}
SHARED = {"first_stage": ("teacher", "student"), "training": ("training",)}
"""Name in the schema's ``$defs`` to where its keys are."""
PLUG_INS = {
    "faces.sources": ("Sources", "datasets.<name>.source"),
    "faces.detectors": ("Detectors", "datasets.<name>.alignment.detector"),
    "networks": ("Architectures", "networks.<name>.architecture"),
    "losses": ("Losses", "methods.<name>.loss"),
}
"""Package to its heading and the key that names one of its plug-ins, beside whose settings it stands."""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page as Markdown. Top-level keys in no section are at its end."""
    listed = {key for each in SECTIONS.values() for key in each.keys}
    others = tuple(key for key in SCHEMA["properties"] if key not in listed)
    sections = SECTIONS | ({"Others": Section(others)} if others else {})
    return "\n".join([INTRODUCTION, *(f"## {heading}\n\n{_section(each)}" for heading, each in sections.items())])


def _section(section: Section) -> str:
    parts = [f"{section.introduction}\n"] if section.introduction else []
    schema = {"properties": {key: SCHEMA["properties"][key] for key in section.keys}, "required": SCHEMA["required"]}
    parts += _mapping((), schema) if section.keys else []
    for name in section.shared:
        parts += _mapping(SHARED[name], SCHEMA["$defs"][name])
    return "\n".join([*parts, *(_plug_ins(package) for package in section.plug_ins)])


def _mapping(paths: tuple[str, ...], schema: dict) -> Iterator[str]:
    """The keys of a mapping, which is at ``paths``, then those of the mappings in it."""
    properties, required = schema.get("properties", {}), schema.get("required", ())
    if properties:
        if paths:
            yield f"### {' and '.join(f'`{path}`' for path in paths)}\n"
        if paths and paths[0].endswith(">"):
            yield f"{_with_code(schema['description'])}\n"
        yield "".join(_entry(name, each, name in required) for name, each in properties.items())
    for name, each in properties.items():
        yield from _mapping(tuple(f"{path}.{name}" for path in paths) or (name,), each)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _mapping(tuple(f"{path}.<name>" for path in paths), schema["additionalProperties"])


def _entry(name: str, schema: dict, required: bool) -> str:
    facts = [_values(schema)] + (["required"] if required else [])
    if "default" in schema and schema["default"] != {}:
        facts.append(f"default `{as_yaml(schema['default'])}`")
    meaning = _with_code(schema.get("description", ""), schema.get("enum", ()))
    if schema.get("$ref") == "#/$defs/training":
        meaning = f"{meaning} See [Training](#training).".strip()
    return f"- **`{name}`** ({'; '.join(facts)}): {meaning}\n"


def _values(schema: dict, plural: str = "") -> str:
    """What a key may be, in words."""
    if "enum" in schema:
        return " or ".join(", ".join(f"`{each}`" for each in schema["enum"]).rsplit(", ", 1))
    if schema.get("type") == "array":
        return f"list of {_values(schema['items'], 's')}" if "items" in schema else "list"
    words = {"integer": "whole number", "number": "number", "string": "text" if not plural else "name"}
    words |= {"boolean": "true or false"}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = " and ".join(f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema)
    return f"{words.get(schema.get('type', ''), 'mapping')}{plural} {bounds}".strip()


def _plug_ins(package: str) -> str:
    """Every plug-in of a package with its settings."""
    heading, key = PLUG_INS[package]
    folder = f"src/triplet_distillation/{package.replace('.', '/')}"
    lines = [f"### {heading}\n", f"`{key}` names a file of `{folder}`; its settings stand beside it.\n"]
    for name in registry.names(package):
        lines.append(f"- **`{name}`**: {_loss(name) if package == 'losses' else _summary(package, name)}")
        if package != "losses":
            lines += [f"    - {_setting(each)}: {each.meaning}" for each in plug_in_settings(package, name)]
    return "\n".join(lines) + "\n"


def _setting(setting: Setting) -> str:
    default = setting.default if setting.default == "required" else f"default {setting.default}"
    return f"`{setting.name}` ({setting.values}; {default})"


def _summary(package: str, name: str) -> str:
    """What the docstring of a plug-in says first, and its protocols."""
    protocols = registry.attribute(package, name, "protocols", ())
    summary = " ".join(registry.docstring(package, name).split("\n\n")[0].split()).replace("``", "`")
    return f"{summary} Protocols: {', '.join(f'`{each}`' for each in protocols)}." if protocols else summary


def _loss(name: str) -> str:
    """A loss's settings, and a link to its section in the page of methods, which explains them."""
    title = methods.loss_title({"loss": name})
    anchor = re.sub(r"[^\w -]", "", f"{title} loss {name}".lower()).replace(" ", "-")
    settings = ", ".join(_setting(each) for each in plug_in_settings("losses", name)) or "no settings"
    return f"[{title}](../docs/methods/README.md#{anchor}); {settings}"


def _with_code(text: str, choices: Iterable[str] = ()) -> str:
    """A description with choices, paths, placeholders, keys and plug-ins as code."""
    names = [name for package in ("faces.sources", "faces.detectors", "networks") for name in registry.names(package)]
    words = "|".join([*map(str, choices), *(name for name in names if name != "folder")])
    return re.sub(
        rf"(?<![\w/.`-])(?:(?:{words})(?![\w/])|--\w+|[a-z]\w*(?:\.<?[a-z]\w*>?|[/_](?:\w|<\w+>)+)+/?|[a-z]+/)(?!\w)",
        lambda found: f"`{found[0]}`",
        text,
    )


if __name__ == "__main__":
    main()
