"""The study's configuration: checked at the start, with defaults filled in.

The JSON Schema defines the keys; the files of ``losses``, ``networks``, ``faces.sources``
and ``faces.detectors`` define the settings that each of them takes. A wrong key, type or
value is reported with the key's path, what is allowed and the closest correct name; a
key that was renamed, with its new name.
"""

import copy
import fnmatch
import json
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from triplet_distillation import methods, registry
from triplet_distillation.annotations import choices, fits
from triplet_distillation.files import write_text
from triplet_distillation.settings import ExecutionSettings

# jsonschema loads what can check formats, which the schema here has none of. If Jupyter is installed, that is a package
# that takes two seconds, for every command: as long as it cannot be found, jsonschema does without.
SLOW_TO_LOAD = "rfc3987_syntax"
_found = sys.modules.get(SLOW_TO_LOAD)
sys.modules[SLOW_TO_LOAD] = None  # ty: ignore[invalid-assignment]  Python's own mark of a module that there is not
from jsonschema import Draft202012Validator, validators  # noqa: E402

if _found is None:
    del sys.modules[SLOW_TO_LOAD]
else:
    sys.modules[SLOW_TO_LOAD] = _found


class ConfigurationError(ValueError):
    """The configuration is invalid; the message names every wrong key and the remedy."""


RENAMED_KEYS = {
    "datasets.*.alignment.engine": "detector",
    "benchmarks.*.held_out.people": "identities",
    "networks.*.colour_order": "color_order",
    "networks.*.last": "last_channels",
    "*.method.sampled": "sample_rate",
    "methods.*.sampled": "sample_rate",
    "methods.*.selection": "mining",
    "methods.*.number": "num_triplets",
    "*sampling.identities": "p",
    "*sampling.images": "k",
    "*sampling.singles": "extra_negatives",
    "*augmentation.mirror": "flip",
    "teacher.licence": "license",
    "student.licence": "license",
    "evaluation.mirror": "flip",
    "export.fmr": "far",
}
"""Keys of version 0.1.0 and what they are called now: hints for whoever still writes the old ones."""
RENAMED_VALUES = {"identities": "pk", "hardest": "batch_hard"}
"""The same for values that must be one of a list."""


MOVED_KEYS = {"datasets.*.protocol": "benchmarks.<name>.published.protocol"}
"""Keys of version 0.1.0 that are now somewhere else."""


# JSON takes 2.0 for a whole number, but neither range nor slices of Python do. No setting may be NaN or infinite.
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda checker, value: type(value) is int,
            "number": lambda checker, value: type(value) in (int, float) and math.isfinite(value),
        }
    ),
)


def read_yaml(path: str | Path) -> dict:
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def resolve(config: dict, schema: dict) -> dict:
    """The configuration with every default filled in, without the entries that are null.

    An overlay removes an entry of the default study (a benchmark, a method) by setting it
    to null.

    Raises:
        ConfigurationError: something is wrong; the message lists every problem.
    """
    resolved = _plain(config)
    removed = _drop_nulls(resolved)
    _filling_validator(schema).validate(resolved)
    problems = [_explain(error) for error in sorted(_Validator(schema).iter_errors(resolved), key=_path)]
    problems = problems or _check_names(resolved, schema)
    if problems:
        refuse(problem + _why_removed(problem, removed) for problem in problems)
    return resolved


def check_name(config: dict, default: dict) -> None:
    """A study of other images than the default one's has a name of its own, as it would replace its results.

    Args:
        config, default: as in the files.

    Raises:
        ConfigurationError: it has the same name.
    """
    if config["study"] == default["study"] and _has_other_images(config, default):
        refuse(
            [f"study: {config['study']!r} is the default study, but datasets are others: give this study another name"]
        )


def with_title(config: dict, default: dict) -> dict:
    """The configuration, with its name as the title if it has none of its own.

    Args:
        config, default: as in the files; the default study's title is no other study's.
    """
    inherited = config.get("title") == default["title"] and config["study"] != default["study"]
    return config | {"title": config["study"]} if inherited else config


def _has_other_images(config: dict, default: dict) -> bool:
    images, default_images = (
        {name: _images_of(entry) for name, entry in each["datasets"].items() if entry} for each in (config, default)
    )
    return images != default_images


def refuse(problems: Iterable[str]) -> None:
    """Every problem in a line of its own, once."""
    raise ConfigurationError("the configuration is invalid:\n  " + "\n  ".join(dict.fromkeys(problems)))


def in_order_of(config: dict, base: dict) -> dict:
    """``config`` with the entries that ``base`` also has in its order, before the others, in nested mappings, too.

    Snakemake puts the entries of an overlay first; a reader expects them after those of the study that it changes.
    """
    order = [key for key in base if key in config] + [key for key in config if key not in base]
    return {
        key: in_order_of(config[key], base[key])
        if isinstance(config[key], dict) and isinstance(base.get(key), dict)
        else config[key]
        for key in order
    }


def _plain(config: dict) -> dict:
    """Plain dicts and lists, regardless of the caller's types of mappings."""
    return json.loads(json.dumps(config))


def _drop_nulls(entry: dict, *parents: str) -> list[tuple[str, ...]]:
    """Remove what is null, in nested mappings, too; returns the keys that were."""
    nulls = [key for key, value in entry.items() if value is None]
    removed: list[tuple[str, ...]] = [(*parents, key) for key in nulls]
    for key in nulls:
        del entry[key]
    for key, value in entry.items():
        if isinstance(value, dict):
            removed += _drop_nulls(value, *parents, key)
    return removed


def _why_removed(problem: str, removed: list[tuple[str, ...]]) -> str:
    """That what a problem misses was removed."""
    keys = []
    for *parents, name in removed:
        incomplete = problem.startswith(f"{_key(*parents)}: ") and (
            "it has no entries." in problem or (" missing." in problem and name in problem)
        )
        if incomplete or f"{name!r} is not defined" in problem:
            keys.append(_key(*parents, name))
    return "".join(f" {key} is null, which removes it from the default study: leave that out." for key in keys)


def _hint(key: str, name: str, known: Iterable[str]) -> str:
    """What was probably meant by the unknown ``name`` at ``key``: its new name, or the closest one."""
    for pattern, new in MOVED_KEYS.items():
        if fnmatch.fnmatchcase(f"{key}.{name}", pattern):
            return f" It is now {new}."
    for pattern, new in RENAMED_KEYS.items():
        if new in known and fnmatch.fnmatchcase(f"{key}.{name}", pattern):
            return f" It is now called {new!r}."
    return registry.suggest(name, known)


def _filling_validator(schema: dict):
    """A validator that checks nothing but fills in defaults, outermost first."""

    def fill(validator, properties, instance, parent):
        if not isinstance(instance, dict):
            return
        for name, subschema in properties.items():
            if "default" in subschema:
                instance.setdefault(name, copy.deepcopy(subschema["default"]))
            if name in instance:
                yield from validator.descend(instance[name], subschema)

    def every(validator, subschema, instance, parent):
        if isinstance(instance, dict) and isinstance(subschema, dict):
            for name in instance.keys() - parent.get("properties", {}).keys():
                yield from validator.descend(instance[name], subschema)

    reference = Draft202012Validator.VALIDATORS["$ref"]
    keywords: dict[str, Any] = {"properties": fill, "additionalProperties": every, "$ref": reference}
    return validators.create(Draft202012Validator.META_SCHEMA, keywords)(schema)


def _path(error) -> list[str]:
    return [str(part) for part in error.absolute_path]


def _key(*parts) -> str:
    return ".".join(str(part) for part in parts) or "(top level)"


def _explain(error) -> str:
    """One line: the key, what is wrong, what is allowed, the closest name or the usual cause."""
    key, instance = _key(*error.absolute_path), error.instance
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        wrong = sorted(instance.keys() - known.keys())
        hints = [
            f"{_key(*error.absolute_path, name)}: unknown key.{_hint(_key(*error.absolute_path), name, known)}"
            for name in wrong
        ]
        nested = " Nested keys belong into a file (--configfile)." * any(
            name.partition(".")[0] in known for name in wrong
        )
        return f"{' '.join(hints)}{nested} Allowed: {', '.join(sorted(known))}"
    if error.validator == "enum":
        return f"{key}: {_not_one_of(instance, error.validator_value)}"
    if error.validator == "type":
        expected = _type_name(error.validator_value)
        return f"{key}: expected {expected}, got {_described(instance)}.{_cause(instance, expected)}"
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - instance.keys())
        everything = "A study, also that of a module, has all of them: start from config.yaml."
        hint = error.schema.get("description", "") if error.absolute_path else everything
        return f"{key}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. {hint}".rstrip()
    if error.validator == "minProperties":
        return f"{key}: it has no entries. {error.schema.get('description', '')}".rstrip()
    if error.validator == "pattern":
        return f"{key}: {instance!r} is not allowed. {error.schema.get('description', '')}".rstrip()
    if error.validator == "oneOf":
        return f"{key}: set exactly one of {', '.join(each['required'][0] for each in error.validator_value)}"
    return f"{key}: {error.message} ({error.schema.get('description', 'see config/README.md')})"


def _not_one_of(value: Any, allowed: Iterable[str]) -> str:
    renamed = RENAMED_VALUES.get(str(value))
    hint = f" It is now called {renamed!r}." if renamed in allowed else registry.suggest(value, allowed)
    return f"{value!r} is not one of {', '.join(map(repr, allowed))}.{hint}"


def _described(value) -> str:
    return "null" if value is None else f"{value!r} ({type(value).__name__})"


def _type_name(expected) -> str:
    plain = {"object": "a mapping", "array": "a list", "string": "text", "integer": "a whole number"}
    return " or ".join(plain.get(each, f"a {each}") for each in ([expected] if isinstance(expected, str) else expected))


def _cause(value: Any, expected: str) -> str:
    """Why a value may have been read as another type, and how to write the expected one."""
    if isinstance(value, str):
        return _cause_of_text(value)
    if expected == "text":
        return " Put it in quotes."
    if expected == "a whole number" and isinstance(value, float) and value.is_integer():
        return f" Write {int(value)}."
    if expected == "a list" and not isinstance(value, dict):
        return f" A list of one value is written [{json.dumps(value)}]."
    if expected in ("a boolean", "bool"):
        return " Write true or false."
    return ""


def _cause_of_text(text: str) -> str:
    """Why something else may have been read as text."""
    try:
        float(text)
    except ValueError:
        pass
    else:
        return " YAML reads 1e-3 as text (write 1.0e-3), and --config turns nested values into text (use --configfile)."
    try:
        meant = yaml.safe_load(text)
    except yaml.YAMLError:
        return ""
    if isinstance(meant, str):
        return ""
    return f" It is text: in a file, write {text} without quotes; --config turns it into text (use --configfile)."


def _check_names(config: dict, schema: dict) -> list[str]:
    """What the schema cannot check: names that refer to other entries, and the settings of plug-ins."""
    problems = []
    for name, entry in config["datasets"].items():
        problems += _check_settings(f"datasets.{name}", "faces.sources", "source", entry, {"alignment"})
        key = f"datasets.{name}.alignment"
        problems += _check_settings(key, "faces.detectors", "detector", entry["alignment"], {"batch_size", "shards"})
    for name, entry in config["benchmarks"].items():
        problems += _check_reference(f"benchmarks.{name}.dataset", entry["dataset"], config["datasets"])
    problems += _check_reference("training_data.dataset", config["training_data"]["dataset"], config["datasets"])
    for name, entry in config["networks"].items():
        problems += _check_settings(f"networks.{name}", "networks", "architecture", entry, set())
    for role in ("teacher", "student"):
        problems += _check_reference(f"{role}.network", config[role]["network"], config["networks"])
        problems += _check_settings(f"{role}.method", "losses", "loss", config[role]["method"], set())
        problems += _check_sampling(f"{role}.training", config[role]["training"], config["execution"])
    student = config["networks"].get(config["student"]["network"])
    if not problems and student and is_pretrained(student):
        problems.append(f"student.network: {student['architecture']} can be a teacher, but cannot be trained")
    chosen = config["export"]["method"]
    problems += _check_reference("export.method", chosen, config["methods"]) if chosen else []
    shared = _check_sampling("second_stage.training", config["second_stage"]["training"], config["execution"])
    for name, entry in config["methods"].items():
        if name in ("teacher", "student"):
            problems.append(f"methods.{name}: there is already a model of this name")
        problems += shared or _check_method(f"methods.{name}", entry, config, schema)
    problems += _check_reference("reference", config["reference"], config["methods"]) if config["reference"] else []
    if not problems:
        problems += _check_ablations(config, schema)
        problems += _check_models(config)
        problems += _check_controls(config)
        problems += _check_first_stage(config)
        problems += _check_teachers(config) if not problems else []
        problems += _check_labels(config)
    problems += _check_protocols(config) if not problems else []
    problems += _check_rounds(config)
    for index, name in enumerate(config["profile"]["networks"]):
        problems += _check_reference(f"profile.networks.{index}", name, config["networks"])
    problems += _check_texts(config)
    problems += _check_portable(config["execution"]) + _check_device(config["execution"])
    return list(dict.fromkeys(problems))


def _check_method(key: str, entry: dict, config: dict, schema: dict) -> list[str]:
    """The settings of a method's loss, its training, and that it gets what it requires."""
    problems = _check_settings(key, "losses", "loss", entry, methods.METHOD_KEYS)
    if problems:
        return problems
    smallest, largest = (methods.setting_of(entry, margin) for margin in ("min_margin", "max_margin"))
    if isinstance(smallest, int | float) and isinstance(largest, int | float) and smallest > largest:
        problems.append(f"{key}: min_margin {smallest} is above max_margin {largest}")
    problems += _check_requirements(key, entry, config) + _check_tuned(key, entry)
    training = methods.method_training(entry, config)
    problems += _check_training(f"{key}.training", training, schema["$defs"]["training"])
    if problems:
        return problems
    problems += _check_sampling(f"{key}.training", training, config["execution"])
    if problems:
        return problems
    return _check_batch_size(key, entry, training)


def _check_batch_size(key: str, method: dict, training: dict) -> list[str]:
    """A method has as many images in a batch as it needs."""
    size, needed = methods.batch_size(training), methods.loss_attribute(method, "min_batch_size")
    if size >= needed:
        return []
    return [f"{key}.training.sampling: {method['loss']} needs batches of at least {needed} images, not {size}"]


def _check_tuned(key: str, entry: dict) -> list[str]:
    """What was tuned are settings of the method."""
    known = {*registry.arguments("losses", entry["loss"]), *methods.METHOD_KEYS}
    return [
        f"{key}.tuned.settings: {name!r} is not a setting of the method.{registry.suggest(name, known)}"
        for name in entry.get("tuned", {}).get("settings", [])
        if name.split(".")[0] not in known
    ]


def _check_requirements(key: str, entry: dict, config: dict) -> list[str]:
    """What a method requires is known, and the study has it."""
    loss, required = entry["loss"], methods.required_inputs(entry)
    unknown = [name for name in required if name not in methods.REQUIREMENTS]
    if unknown:
        return [
            f"{key}.loss: {loss} requires {name!r}, which is not one of {', '.join(methods.REQUIREMENTS)}."
            f"{registry.suggest(name, methods.REQUIREMENTS)}"
            for name in unknown
        ]
    problems = []
    if methods.initial_of(entry) not in methods.INITIAL:
        problems.append(f"{key}.initial: {_not_one_of(methods.initial_of(entry), methods.INITIAL)}")
    if "margins" in required and "distance" not in registry.arguments("losses", loss):
        return [f"{key}.loss: {loss} requires margins, which are measured in a distance: give it that setting"]
    if "teacher_snapshots" in required and "teacher_embeddings" not in required:
        problems.append(
            f"{key}.loss: {loss} requires teacher_snapshots, which only says which teacher_embeddings it gets"
        )
    if "margins" in required and methods.method_distance(entry) not in methods.known_distances():
        problems.append(f"{key}.distance: {_not_one_of(methods.method_distance(entry), methods.known_distances())}")
    if "teachers" in entry and not methods.learns_from_teacher(entry):
        problems.append(f"{key}.teachers: {loss} has no teacher")
    with_network = [name for name, model in config["models"].items() if "network" in model]
    for index, name in enumerate(entry.get("teachers", [])):
        problems += _check_reference(f"{key}.teachers.{index}", name, dict.fromkeys(["teacher", *with_network]))
    if problems:
        return problems
    number, count = methods.loss_attribute(entry, "num_teachers"), len(methods.teachers_of(entry))
    if methods.learns_from_teacher(entry) and number not in (0, count):
        problems.append(f"{key}.teachers: {loss} learns from {number} teachers, but the entry has {count}")
    return problems


def _check_snapshots(key: str, entry: dict, config: dict) -> list[str]:
    """Only the study's own teacher is also saved as it was during its training, if it is trained here."""
    loss, teacher = entry["loss"], config["teacher"]
    if methods.teachers_of(entry) != ["teacher"]:
        return [f"{key}.teachers: {loss} learns from snapshots, which only the study's own teacher has"]
    if comes_with_weights(teacher, config["networks"]):
        return [f"{key}.loss: {loss} learns from the teacher's snapshots, but this teacher comes with its weights"]
    if not teacher["snapshots"]:
        return [f"{key}.loss: {loss} learns from the teacher's snapshots: set teacher.snapshots to how many, as 3"]
    return []


def _check_teachers(config: dict) -> list[str]:
    """Whether every method's teachers have what it requires of them."""
    problems = []
    for name, entry in config["methods"].items():
        if "teacher_snapshots" in methods.required_inputs(entry):
            problems += _check_snapshots(f"methods.{name}", entry, config)
        if "class_centers" in methods.required_inputs(entry):
            problems += _check_classifier(f"methods.{name}", entry, config)
    return problems


def _check_classifier(key: str, entry: dict, config: dict) -> list[str]:
    """Class centers remain of a training here with a loss that has them; else there are the means of embeddings."""
    loss, name = entry["loss"], methods.main_teacher(entry)
    teacher = config["teacher"] if name == "teacher" else config["models"][name]
    if teacher["class_centers"] == "means":
        return []
    if comes_with_weights(teacher, config["networks"]):
        why = "which comes without"
    elif "class_centers" not in methods.loss_attribute(teacher["method"], "provides"):
        why = f"of which {teacher['method']['loss']} leaves none"
    else:
        return []
    where = name if name == "teacher" else f"models.{name}"
    return [
        f"{key}.loss: {loss} requires the class centers of its teacher ({name}), {why}: set {where}.class_centers to "
        "means, the mean teacher embedding of every identity"
    ]


def _check_ablations(config: dict, schema: dict) -> list[str]:
    """Every variant is a method that could be in the configuration."""
    problems = []
    for name, settings in config["ablations"].items():
        problems += _check_reference(f"ablations.{name}", name, config["methods"])
        if name in config["methods"] and methods.is_control(config["methods"][name]):
            problems.append(f"ablations.{name}: vary the distillation that this control belongs to instead")
        for setting in settings:
            if setting in methods.METHOD_KEYS | {"loss"}:
                problems.append(
                    f"ablations.{name}.{setting}: not a setting of the loss; of the training: training.<key>"
                )
    if problems:
        return problems
    for base, settings in config["ablations"].items():
        for setting, values in settings.items():
            names = [methods.variant_name(base, setting, value) for value in values]
            if len(set(names)) < len(names):
                problems.append(f"ablations.{base}.{setting}: two values would make the same file name")
    for name, variant in methods.ablation_methods(config).items():
        base, method = f"ablations.{variant.base}", variant.method
        key = f"{base}.{variant.setting}"
        if name in config["methods"]:
            problems.append(f"{key}: the variant would be called {name}, which is a method")
        if isinstance(variant.value, dict):
            problems.append(f"{key}: {variant.value} is a mapping: vary one of its keys, as in {key}.<key>")
        elif methods.is_control(method):
            problems.append(f"{key}: matched makes a control, not a variant")
        else:
            problems += _check_method(base, method, config, schema)
    return problems


def _check_models(config: dict) -> list[str]:
    """Further models have a network with weights, or scores, and names of their own."""
    problems = []
    for name, model in config["models"].items():
        key = f"models.{name}"
        if name in config["methods"] or name in ("teacher", "student"):
            problems.append(f"{key}: there is already a model of this name")
        if "scores" in model:
            wrong = [name for name in ("weights", "training") if model.get(name)]
            problems += [f"{key}.{each}: scores need no {each}" for each in wrong]
            continue
        problems += _check_reference(f"{key}.network", model["network"], config["networks"])
        network = config["networks"].get(model["network"])
        if network and is_trained_here(model):
            if model["weights"] or is_pretrained(network):
                problems.append(f"{key}.training: it has weights already: remove one of them")
            problems += _check_settings(f"{key}.method", "losses", "loss", model["method"], set())
            problems += _check_sampling(f"{key}.training", model["training"], config["execution"])
        elif network and not model["weights"] and not is_pretrained(network):
            problems.append(
                f"{key}.weights: {network['architecture']} does not come with weights: set their path, or training"
            )
    return problems


CONTROLLED = ("distance", "mining", "num_triplets")
"""Settings in which, beside start and training, a control and its distillation must agree."""


def _check_controls(config: dict) -> list[str]:
    """A control with ``margin: matched`` belongs to one distillation and differs from it in the margin alone."""
    entries = config["methods"]
    problems, distilled = [], methods.with_margins(entries)
    for name, method in entries.items():
        if not methods.is_control(method):
            if "matches" in method:
                problems.append(f"methods.{name}.matches: only a method with margin: matched has one")
            continue
        target = method.get("matches") or (distilled[0] if len(distilled) == 1 else "")
        if target not in distilled:
            problems.append(
                f"methods.{name}.matches: set it to the method whose margins are matched, one of: "
                f"{', '.join(distilled) or '(none: the study has no such method)'}"
            )
            continue
        loss = entries[target]["loss"]
        pair = [
            {key: methods.setting_of(each, key) for key in CONTROLLED if key in registry.arguments("losses", loss)}
            | {"training": methods.method_training(each, config), "initial": methods.initial_of(each)}
            for each in (method, entries[target])
        ]
        different = [key for key in pair[0] if pair[0][key] != pair[1][key]]
        if different:
            problems.append(
                f"methods.{name}: a control may differ from {target} in the margin only, but {', '.join(different)} "
                f"differ{'s' * (len(different) == 1)}: use the same values"
            )
    return problems


def _check_first_stage(config: dict) -> list[str]:
    """Teacher and student start from nothing, so their losses can require nothing."""
    problems = []
    further = {f"models.{name}": model for name, model in config["models"].items() if is_trained_here(model)}
    for role, entry in {**{role: config[role] for role in ("teacher", "student")}, **further}.items():
        method = entry["method"]
        required = [name for name in methods.required_inputs(method) if name != "student_centers"]
        required += ["a distillation's mean margin"] * methods.is_control(method)
        if required:
            names = " and ".join(required)
            problems.append(f"{role}.method: {method['loss']} requires {names}, which only methods get: use arcface")
        problems += _check_batch_size(role, method, entry["training"])
        if (steps := entry["training"]["iterations"]) <= entry.get("snapshots", 0):
            problems.append(f"{role}.snapshots: {entry['snapshots']} are too many for a training of {steps} steps")
    student = config["student"]
    if student["snapshots"] or student["class_centers"] != "classifier":
        problems.append("student: snapshots and class_centers are settings of the teacher")
    return problems


def _check_labels(config: dict) -> list[str]:
    """Models with the same label could not be told apart in a table; spaces do not tell them apart in a browser."""
    labels = [methods.label_of_role(role, config) for role in ("teacher", "student")]
    labels += [each.get("label", name) for kind in ("methods", "models") for name, each in config[kind].items()]
    shown = [" ".join(label.split()) for label in labels]
    repeated = sorted({label for label in shown if shown.count(label) > 1})
    return [f"methods, models: the label {label!r} occurs more than once" for label in repeated]


def _check_texts(entry: Any, key: str = "") -> list[str]:
    """Snakemake writes parameters into a script of its report as they are, which these would end there."""
    if isinstance(entry, str) and (found := re.search("</script|<!--", entry, re.IGNORECASE)):
        return [f"{key}: {entry!r} contains {found[0]!r}, with which the report would not open: leave that out"]
    parts = entry.items() if isinstance(entry, dict) else enumerate(entry) if isinstance(entry, list) else ()
    return [problem for name, part in parts for problem in _check_texts(part, f"{key}.{name}".lstrip("."))]


def _check_protocols(config: dict) -> list[str]:
    """A published protocol is one of the source's; those that compare templates have neither folds nor rounds."""
    problems, datasets = [], config["datasets"]
    for name, benchmark in config["benchmarks"].items():
        if "held_out" in benchmark:
            problems += _check_held_out(f"benchmarks.{name}.held_out", benchmark["held_out"])
        if "published" not in benchmark:
            continue
        source = datasets[benchmark["dataset"]]["source"]
        known = registry.attribute("faces.sources", source, "protocols", default=())
        if not known:
            problems.append(f"benchmarks.{name}: {source} has no published protocol: use held_out or pairs")
        elif (protocol := published_protocol(benchmark, datasets)) not in known:
            problems.append(f"benchmarks.{name}.published.protocol: {_not_one_of(protocol, known)}")
        elif compares_templates(benchmark, datasets):
            if benchmark["metric"] == "accuracy":
                problems.append(f"benchmarks.{name}.metric: {source} has no folds: use tar_at_far")
            if benchmark["dataset"] == config["training_data"]["dataset"]:
                problems.append(f"benchmarks.{name}.dataset: {source} is for testing only: train on another data set")
    return problems


def _check_held_out(key: str, held_out: dict) -> list[str]:
    """Every fold has two people, or it would have no impostor pairs."""
    identities, folds = held_out["identities"], held_out["folds"]
    if identities >= 2 * folds:
        return []
    return [
        f"{key}: {identities} identities are too few for {folds} folds, which need two each: set identities to "
        f"{2 * folds} or more, or folds to {identities // 2} or less"
    ]


def _check_rounds(config: dict) -> list[str]:
    """Every round has as many runs, and there is something that takes turns."""
    rounds, runs = config["rounds"], len(config["seeds"])
    problems = []
    if runs % rounds:
        problems.append(f"rounds: {runs} seeds cannot be divided evenly among {rounds} rounds: change seeds or rounds")
    for name, benchmark in config["benchmarks"].items():
        kind = "published" if "published" in benchmark else "pairs"
        folds = benchmark.get(kind, {}).get("folds", [])
        if rounds > 1 and folds and len(folds) < 2 * rounds:
            problems.append(
                f"benchmarks.{name}.{kind}.folds: {rounds} rounds need at least {2 * rounds} folds, two for each, "
                f"but only {len(folds)} are listed"
            )
    trained_on = config["training_data"]["dataset"]
    if rounds > 1 and all(benchmark["dataset"] != trained_on for benchmark in config["benchmarks"].values()):
        problems.append(f"rounds: no benchmark is on the training data {trained_on!r}, so nobody takes turns: use 1")
    return problems


def _check_device(execution: dict) -> list[str]:
    """Several processes do not share one GPU."""
    device, processes = execution["device"], ExecutionSettings(**execution).world_size
    if processes == 1 or not device.startswith("cuda:"):
        return []
    return [
        f"execution.device: {device} is one GPU, but a training has {processes} processes (execution.processes × "
        "execution.nodes): set it to cuda, and each takes a GPU of its own"
    ]


def _check_portable(execution: dict) -> list[str]:
    """What has no kernels that every CPU runs."""
    required = {"device": "cpu", "precision": "fp32", "compile": False}
    wrong = [f"{key} {execution[key]}" for key, value in required.items() if execution[key] != value]
    if not execution["portable"] or not wrong:
        return []
    return [
        f"execution.portable: no other machine gives the same bits with {', '.join(wrong)}: set portable to false; the "
        "results are then reproducible on this kind of machine only"
    ]


SAMPLING = {"uniform": ({"batch_size"}, set()), "pk": ({"p", "k"}, {"minimum_images", "extra_negatives"})}
"""Kind of sampling to its required and its optional keys."""


def _check_sampling(key: str, training: dict, execution: dict) -> list[str]:
    """A kind of sampling has only its own keys, and a batch can be divided among the processes."""
    sampling = training["sampling"]
    required, optional = SAMPLING[sampling["kind"]]
    present = sampling.keys() - {"kind"}
    wrong = [f"{name} is missing" for name in sorted(required - present)]
    wrong += [f"{name} is not one of its settings (null removes it)" for name in sorted(present - required - optional)]
    if wrong:
        return [f"{key}.sampling: kind {sampling['kind']!r}: {', '.join(wrong)}"]
    size = methods.batch_size(training)
    world_size = ExecutionSettings(**execution).world_size
    if size % world_size:
        return [f"{key}.sampling: {size} images per step cannot be divided evenly among {world_size} processes"]
    return []


def _check_training(key: str, training: dict, schema: dict) -> list[str]:
    errors = sorted(_Validator(schema).iter_errors(training), key=_path)
    return [f"{key}.{_explain(error).removeprefix('(top level): ')}" for error in errors]


def _check_reference(key: str, name: str, defined: dict) -> list[str]:
    if name in defined:
        return []
    return [f"{key}: {name!r} is not defined. Defined: {', '.join(defined)}.{registry.suggest(name, defined)}"]


def _check_settings(key: str, package: str, selector: str, entry: dict, other_keys: set[str]) -> list[str]:
    """Check the settings in ``entry`` against the arguments of the plug-in that ``entry[selector]`` names."""
    name = entry[selector]
    try:
        registry.check(package, name)
    except registry.PluginError as error:
        return [f"{key}.{selector}: {error}"]
    allowed = registry.arguments(package, name)
    problems = [
        f"{key}.{selector}: {name} has a setting called {setting}, which is a key of the entry: give it another name"
        for setting in sorted(allowed.keys() & (other_keys | {selector}))
    ]
    names, unknown = sorted(allowed.keys() | other_keys | {selector}), []
    for setting, value in entry.items():
        if setting in other_keys or setting == selector:
            continue
        if setting not in allowed:
            unknown.append(f"{key}.{setting}: {name} has no such setting.{_hint(key, setting, names)}")
        elif (allowed_values := choices(allowed[setting][0])) and not fits(value, allowed[setting][0]):
            problems.append(f"{key}.{setting}: {_not_one_of(value, allowed_values)}")
        elif not fits(value, allowed[setting][0]):
            expected = {"str": "text", "list": "a list", "Sequence[int]": "a list"}.get(allowed[setting][0])
            cause = _cause(value, expected or allowed[setting][0])
            problems.append(f"{key}.{setting}: expected {allowed[setting][0]}, got {_described(value)}.{cause}")
    if unknown:
        problems.append(f"{' '.join(unknown)} Allowed: {', '.join(names)}")
    missing = [each for each, (_, default) in allowed.items() if default is registry.REQUIRED and each not in entry]
    if missing:
        keys = ", ".join(f"{key}.{each}" for each in missing)
        problems.append(f"{keys}: {name} requires {'this setting' if len(missing) == 1 else 'these settings'}")
    return problems


def published_protocol(benchmark: dict, datasets: dict) -> str:
    """The published protocol of a benchmark, by name or by default; empty if its pairs are made in another way."""
    if "published" not in benchmark:
        return ""
    known = registry.attribute("faces.sources", datasets[benchmark["dataset"]]["source"], "protocols", default=())
    return benchmark["published"]["protocol"] or next(iter(known), "")


def compares_templates(benchmark: dict, datasets: dict) -> bool:
    """Whether the pairs of a benchmark are pairs of templates (IJB-B, IJB-C)."""
    source = datasets[benchmark["dataset"]]["source"]
    known = registry.attribute("faces.sources", source, "template_protocols", default=())
    return published_protocol(benchmark, datasets) in known


def has_real_names(dataset: dict) -> bool:
    """Whether the identities of a data set are people's names, which can be compared with those of another."""
    setting = registry.arguments("faces.sources", dataset["source"]).get("real_names")
    if setting:
        return dataset.get("real_names", setting[1])
    return registry.attribute("faces.sources", dataset["source"], "real_names", default=False)


def names_are_comparable(first: str, second: str, datasets: dict) -> bool:
    """Whether equal identities of two data sets are one person: in one and the same, or where both name people."""
    a, b = (_images_of(datasets[name]) for name in (first, second))
    return a == b or (has_real_names(datasets[first]) and has_real_names(datasets[second]))


def _images_of(dataset: dict) -> dict:
    """What says which images a data set has, however they are aligned."""
    return {key: value for key, value in dataset.items() if key not in ("alignment", "real_names")}


def is_trained_here(model: dict) -> bool:
    """Whether a further model is trained in this study, like teacher and student."""
    return "training" in model


def comes_with_weights(model: dict, networks: dict) -> bool:
    """Whether the teacher or a further model is not trained in this study."""
    return bool(model["weights"]) or is_pretrained(networks[model["network"]])


def is_pretrained(network: dict) -> bool:
    """Whether a network comes with its weights, as an ONNX model does."""
    return registry.attribute("networks", network["architecture"], "pretrained", default=False)


def for_rerun(config: dict, resolved: dict) -> dict:
    """The resolved configuration, with the nulls that remove entries of the default study.

    Used as an overlay, it gives the same study again.
    """
    return {key: resolved[key] for key in sorted(resolved)} | {
        key: {**{name: None for name, value in config[key].items() if value is None}, **entry}
        for key, entry in resolved.items()
        if isinstance(entry, dict) and key in config
    }


def write_config(config: dict, output: str) -> None:
    """Write a configuration as YAML."""
    write_text(output, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
