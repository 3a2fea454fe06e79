"""What the entries of ``methods`` mean: where they start, what they require, how they are trained, who is compared.

They are mappings, as a checked configuration has them; ``config`` is the whole of it.
"""

import copy
import re
from typing import Any, NamedTuple

from triplet_distillation import registry
from triplet_distillation.annotations import choices
from triplet_distillation.settings import SamplingSettings


class Variant(NamedTuple):
    """A ``method`` (its entry) that differs from ``base`` (a name) in the ``value`` of one ``setting``."""

    base: str
    setting: str
    value: Any
    method: dict[str, Any]


def setting_of(method: dict, key: str) -> Any:
    defaults = {name: default for name, (_, default) in registry.arguments("losses", method["loss"]).items()}
    return method.get(key, defaults.get(key))


METHOD_KEYS = {"label", "training", "matches", "initial", "teachers", "tuned"}
"""Keys of a method that are not settings of its loss."""
INITIAL = {"student": "start from the student", "random": "train from scratch"}
"""Where a method starts, and what its family is called."""
REQUIREMENTS = {
    "teacher_embeddings": "the teacher's embeddings of the images of every batch",
    "teacher_snapshots": "the teacher at equal shares of its own training, instead of its end, one after the other",
    "margins": "the smallest and the largest margin, from the calibration",
    "class_means": "the mean teacher embedding of every identity",
    "class_centers": "the class centers of the teacher's classifier",
    "student_centers": "the class centers of the student that training starts from, if it has any",
}
"""What a loss may require, and what it is then told."""


def loss_attribute(method: dict, key: str) -> Any:
    """A class attribute of a method's loss (:class:`.losses.Loss`)."""
    return registry.attribute("losses", method["loss"], key)


def loss_title(method: dict) -> str:
    """What a method's loss is called in figures."""
    return loss_attribute(method, "title") or method["loss"]


def required_inputs(method: dict) -> tuple[str, ...]:
    """What a method's loss requires, of :data:`REQUIREMENTS`."""
    return loss_attribute(method, "requires")


def learns_from_teacher(method: dict) -> bool:
    """Whether a method is a distillation."""
    return bool({*required_inputs(method)} - {"student_centers"})


def initial_of(method: dict) -> str:
    """Where a method starts, one of :data:`INITIAL`."""
    return method.get("initial") or loss_attribute(method, "initial")


def teachers_of(method: dict) -> list[str]:
    """The names of a method's teachers: ``teacher``, or further models; none if it learns from none."""
    return method.get("teachers", ["teacher"] if learns_from_teacher(method) else [])


def main_teacher(method: dict) -> str:
    """The teacher whose margins and class centers a method is told: the first of its teachers."""
    return next(iter(teachers_of(method)), "teacher")


def method_training(method: dict, config: dict) -> dict:
    """The training of a method: of the second stage, or, from scratch, of the student; as the loss wants it; as the
    method's own entry says, from weak to strong."""
    base = config["second_stage" if initial_of(method) == "student" else "student"]["training"]
    return merge(merge(base, loss_attribute(method, "training_defaults")), method["training"])


def batch_size(training: dict) -> int:
    """Images per step of a training."""
    return SamplingSettings(**training["sampling"]).global_batch_size


def merge(base: dict, overrides: dict) -> dict:
    """``base`` with the keys of ``overrides``, in nested mappings, too; another kind of sampling replaces it."""
    merged = copy.deepcopy(base)
    for key, value in overrides.items():
        inner = merged.get(key)
        same_kind = (
            isinstance(inner, dict) and isinstance(value, dict) and value.get("kind") in (None, inner.get("kind"))
        )
        merged[key] = merge(inner, value) if same_kind else copy.deepcopy(value)
    return merged


def is_control(method: dict) -> bool:
    """Whether a method is a distillation's control: one margin, the mean of the distilled ones."""
    return method.get("margin") == "matched"


def matched_method(name: str, methods: dict) -> str:
    """The distillation that a control belongs to."""
    return methods[name].get("matches") or with_margins(methods)[0]


def with_margins(methods: dict) -> list[str]:
    """The methods that set margins by the teacher."""
    return [name for name, method in methods.items() if registry.defines("losses", method["loss"], "teacher_margins")]


def ablation_methods(config: dict) -> dict[str, Variant]:
    """The variants of all ablations by name, ``<method>-<setting>-<value>``, without those that equal their method."""
    variants = {}
    for base, settings in config["ablations"].items():
        for setting, values in settings.items():
            for value in values:
                if not _equal(value, _own_value(config, base, setting)):
                    method = _with_setting(config, base, setting, value)
                    variants[variant_name(base, setting, value)] = Variant(base, setting, value, method)
    return variants


def ablations(config: dict) -> list[dict[str, Any]]:
    """What is varied, as :class:`.reporting.ablations.Ablation` takes it."""
    found = []
    for base, settings in config["ablations"].items():
        for setting, values in settings.items():
            own = _own_value(config, base, setting)
            names = [base if _equal(value, own) else variant_name(base, setting, value) for value in values]
            models = [f"students/{name}" for name in names]
            found.append({"method": base, "setting": setting, "own": own, "values": values, "models": models})
    return found


def _equal(value: Any, own: Any) -> bool:
    """Whether two values are the same; ``false`` is not 0."""
    return value == own and isinstance(value, bool) == isinstance(own, bool)


def variant_name(base: str, setting: str, value: Any) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{base}-{setting}-{value}")


def _own_value(config: dict, base: str, setting: str) -> Any:
    """A method's own value of a setting that an ablation varies."""
    method, (kind, *keys) = config["methods"][base], setting.split(".")
    if kind != "training":
        return setting_of(method, setting)
    value: Any = method_training(method, config)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _with_setting(config: dict, base: str, setting: str, value: Any) -> dict:
    """A method's entry with another value of a setting; ``training.augmentation.flip`` leaves the rest as it is."""
    method, (kind, *keys) = copy.deepcopy(config["methods"][base]), setting.split(".")
    if kind != "training":
        return {**method, setting: value}
    override: Any = value
    for key in reversed(keys):
        override = {key: override}
    return {**method, "training": merge(method["training"], override)}


def reference_method(config: dict) -> str:
    """The method that all others are compared with: as configured, or the last distillation, or the last method."""
    methods = config["methods"]
    distilled = [name for name, method in methods.items() if learns_from_teacher(method)]
    return config["reference"] or (distilled or list(methods))[-1]


def claims(config: dict) -> list[tuple[str, str | None]]:
    """Which models are compared: (A, B) stands for the claim "A beats B"; None is the student of the first stage.

    First every distillation with its control; then the reference with every other method, and every method with the
    student; at last, the reference with the further models that teach none. Not every pair: the more claims there are,
    the larger a difference must be to support one.
    """
    methods, reference = config["methods"], reference_method(config)
    controls = [(matched_method(name, methods), name) for name, method in methods.items() if is_control(method)]
    others = [(reference, name) for name in reversed(methods) if name != reference]
    with_student = [(name, None) for name in methods]
    teachers = {name for method in methods.values() for name in teachers_of(method)}
    further = [(reference, model) for model in config["models"] if model not in teachers]
    found = dict.fromkeys([*controls, *others, *with_student, *further])
    return [(a, b) for a, b in found if (b, a) not in controls]  # a control as reference would be compared twice


def loss_settings(method: dict) -> dict:
    """The settings of a method's loss: its entry without the keys that are not the loss's."""
    return {key: value for key, value in method.items() if key not in METHOD_KEYS | {"loss"}}


def known_distances() -> tuple[str, ...]:
    """The distances in which margins are measured."""
    return choices(registry.arguments("losses", "triplet")["distance"][0])


def method_distance(method: dict) -> str:
    """The distance that a method uses: from its entry, or the default in its file."""
    return method.get("distance", registry.arguments("losses", method["loss"])["distance"][1])


def label_of_role(role: str, config: dict) -> str:
    """Display name of the teacher or the student."""
    if role == "teacher":
        default = f"Teacher ({config['teacher']['network']})"
    elif config["student"]["weights"]:  # nobody knows here how it was trained
        default = f"Student ({config['student']['network']})"
    else:
        default = f"Student ({loss_title(config['student']['method'])})"
    return config[role].get("label", default)
