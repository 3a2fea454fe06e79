"""Write docs/methods/README.md from the docstrings of the losses: ``python docs/write_methods.py``."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from triplet_distillation import annotations, methods, registry  # noqa: E402

PAGE = ROOT / "docs/methods/README.md"
FAMILIES = {
    "Margin softmax, without a teacher": ("arcface", "cosface", "adaface"),
    "Triplets": ("triplet", "triplet_distillation", "class_center_triplets"),
    "The teacher's class centers": ("center_distillation", "adadistill", "margin_distillation"),
    "The teacher's logits": ("hinton", "margin_based_kd", "grouped_kd"),
    "The teacher's embeddings": ("embedding_regression", "angular_distillation", "multi_step_kd"),
    "Relations between images": (
        "rkd",
        "darkrank",
        "correlation_congruence",
        "similarity_preserving",
        "ekd",
    ),
}
TYPES = {
    "int": "whole number",
    "float": "number",
    "str": "text",
    "bool": "true or false",
    "list": "list",
    "Sequence[int]": "list of whole numbers",
    "dict": "mapping",
    "None": "null",
}
"""Annotation of a setting to the words for it."""
INTRODUCTION = """\
# Methods

Every method is one file of `src/triplet_distillation/losses`, and an entry in the configuration:

```yaml
methods:
  mine: {loss: rkd, angle_weight: 50.0, label: "+ RKD", training: {iterations: 30}}
```

`snakemake --cores all --configfile config/methods.yaml` trains all of them on the default study's faces.
f, t: embeddings of the same image by student and teacher; w: class centers; θ: the angle between an embedding and a
class center; a hat: normalized. This page is written by `docs/write_methods.py` from the files' docstrings;
[add-a-method.md](../add-a-method.md) shows how to add one.
"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page as Markdown. Methods in no family are at its end."""
    listed = {name for names in FAMILIES.values() for name in names}
    others = tuple(name for name in registry.names("losses") if name not in listed)
    families = FAMILIES | ({"Others": others} if others else {})
    parts = [INTRODUCTION]
    for family, names in families.items():
        parts += [f"## {family}\n", *(section(name) for name in names)]
    return "\n".join(parts)


def section(name: str) -> str:
    """One method: formula, source, settings, what it requires, remarks."""
    blocks = {}
    for paragraph in re.split(r"\n\n+", registry.docstring("losses", name)):
        head = re.match(r"(Source|Args|Raises|Read differently): ?", paragraph)
        key = head[1] if head else ("formula" if "Source" not in blocks else "remarks")
        text = paragraph[head.end() :] if head else paragraph
        blocks[key] = f"{blocks[key]}\n\n{text}" if key in blocks else text
    entry = {"loss": name}
    lines = [f"### {methods.loss_title(entry)}: `loss: {name}`\n", blocks["formula"], ""]
    lines += [f"Source: {_flat(blocks['Source'])}\n"] if "Source" in blocks else []
    lines += [_settings(name), _requirements(entry)]
    lines += [blocks[key] + "\n" for key in ("remarks",) if key in blocks]
    if "Read differently" in blocks:
        lines.append(f"Read differently: {_flat(blocks['Read differently'])}\n")
    return "\n".join(lines).replace("``", "`")


def _settings(name: str) -> str:
    rows = [
        f"| `{setting.name}` | {setting.values} | {setting.default} | {setting.meaning} |"
        for setting in plug_in_settings("losses", name)
    ]
    return (
        "\n".join(["| setting | values | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]) if rows else ""
    )


class Setting(NamedTuple):
    """One keyword-only argument of a plug-in, as Markdown; ``default`` is "required" if it has none."""

    name: str
    values: str
    default: str
    meaning: str


def plug_in_settings(package: str, name: str) -> list[Setting]:
    """The settings of a plug-in, in the order of its arguments, with their meaning from ``Args:`` of its docstring."""
    block = re.search(r"^Args:\n((?:    .*\n?|\n(?=    ))*)", registry.docstring(package, name), re.MULTILINE)
    meanings = {}
    for several, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", block[1] if block else "", re.MULTILINE):
        meanings |= dict.fromkeys(several.split(", "), re.sub(r", a key of :data:`[^`]*`", "", _flat(text)))
    return [
        Setting(
            setting,
            values(annotation),
            "required" if default is registry.REQUIRED else f"`{as_yaml(default)}`",
            meanings.get(setting, "").replace("``", "`"),
        )
        for setting, (annotation, default) in registry.arguments(package, name).items()
    ]


def values(annotation: str) -> str:
    """What a setting may be, in words: ``float | Literal['matched']`` is "number or `matched`"."""
    parts = []
    for part in annotation.split(" | "):
        parts += [f"`{each}`" for each in annotations.choices(part)] or [TYPES[part]]
    return " or ".join(", ".join(parts).rsplit(", ", 1))


def as_yaml(value: object) -> str:
    """A value as one writes it into a configuration, in one line."""
    if value == "":
        return '""'
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _requirements(entry: dict) -> str:
    required = [methods.REQUIREMENTS[name] for name in methods.required_inputs(entry)]
    starts = methods.INITIAL[methods.initial_of(entry)].replace("start", "starts").replace("train", "trains")
    needs = f"Requires {'; '.join(required)}." if required else "Requires nothing."
    return f"{needs} By default it {starts}.\n"


def _flat(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
