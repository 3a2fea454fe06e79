"""Write docs/methods/README.md from the docstrings of the losses: ``python docs/write_methods.py``."""

import re
import sys
from pathlib import Path

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
    lines += [_settings(name, blocks.get("Args", "")), _requirements(entry)]
    lines += [blocks[key] + "\n" for key in ("remarks",) if key in blocks]
    if "Read differently" in blocks:
        lines.append(f"Read differently: {_flat(blocks['Read differently'])}\n")
    return "\n".join(lines).replace("``", "`")


def _settings(name: str, block: str) -> str:
    rows, known = [], registry.arguments("losses", name)
    for setting, text in re.findall(
        r"^(?:    )?(\w[\w, ]*): ((?:.+\n?)(?:(?:    ){1,2} +.*\n?)*)", block, re.MULTILINE
    ):
        names = [each for each in setting.split(", ") if each in known]
        if not names:
            continue
        defaults = ", ".join(_default(known[each]) for each in names)
        meaning = _spelled_out(text, known[names[0]][0])
        rows.append(f"| {', '.join(f'`{each}`' for each in names)} | {defaults} | {meaning} |")
    if not rows:
        return ""
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows, ""])


def _spelled_out(text: str, annotation: str) -> str:
    """A setting's meaning, with its choices instead of a reference to the table that has them."""
    choices = " or ".join(", ".join(f"`{each}`" for each in annotations.choices(annotation)).rsplit(", ", 1))
    return re.sub(r", a key of :data:`[^`]*`", f": {choices}", _flat(text))


def _default(setting: tuple) -> str:
    return "required" if setting[1] is registry.REQUIRED else f"`{setting[1]}`"


def _requirements(entry: dict) -> str:
    required = [methods.REQUIREMENTS[name] for name in methods.required_inputs(entry)]
    starts = methods.INITIAL[methods.initial_of(entry)].replace("start", "starts").replace("train", "trains")
    needs = f"Requires {'; '.join(required)}." if required else "Requires nothing."
    return f"{needs} By default it {starts}.\n"


def _flat(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
