"""The study's configuration: checked at the start, with defaults filled in.

The JSON Schema says what keys there are; the files of ``losses``, ``networks``,
``faces.sources`` and ``faces.detectors`` say what settings each of them takes. A wrong
key, type or value is reported with the key's path, what is allowed and the nearest
correct name.
"""

import copy
import json
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, validators

from triplet_distillation import registry
from triplet_distillation.files import write_text


class ConfigurationError(ValueError):
    """The configuration is wrong; the message names every wrong key and the remedy."""


def read_schema(path: str | Path) -> dict:
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def resolve(config: dict, schema: dict) -> dict:
    """The configuration with every default filled in and entries that are null left out.

    An overlay takes an entry of the default study out (a benchmark, a method) by
    setting it to null.

    Raises:
        ConfigurationError: something in it is wrong; the message names all of it.
    """
    resolved = _plain(config)
    _drop_nulls(resolved)
    _filling_validator(schema).validate(resolved)
    problems = [_explain(error) for error in sorted(Draft202012Validator(schema).iter_errors(resolved), key=_place)]
    problems = problems or _check_names(resolved, schema)
    if problems:
        raise ConfigurationError("the configuration is wrong:\n  " + "\n  ".join(problems))
    return resolved


def _plain(config: dict) -> dict:
    """Plain dicts and lists, whatever mappings the caller has."""
    return json.loads(json.dumps(config))


def _drop_nulls(entry: dict) -> None:
    for key in [key for key, value in entry.items() if value is None]:
        del entry[key]
    for value in entry.values():
        if isinstance(value, dict):
            _drop_nulls(value)


def _filling_validator(schema: dict):
    """A validator that judges nothing but fills defaults in, outermost first."""

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

    keywords = {"properties": fill, "additionalProperties": every, "$ref": Draft202012Validator.VALIDATORS["$ref"]}
    return validators.create(Draft202012Validator.META_SCHEMA, keywords)(schema)


def _place(error) -> list[str]:
    return [str(part) for part in error.absolute_path]


def _key(*parts) -> str:
    return ".".join(str(part) for part in parts) or "(top level)"


def _explain(error) -> str:
    """One line: key, what is wrong, what is allowed, the nearest name or the usual cause."""
    key, instance = _key(*error.absolute_path), error.instance
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        wrong = sorted(instance.keys() - known.keys())
        return "; ".join(
            f"{_key(*error.absolute_path, name)}: no such key.{registry.nearest(name, known)} "
            f"Allowed: {', '.join(sorted(known))}"
            for name in wrong
        )
    if error.validator == "enum":
        return f"{key}: {instance!r} is not one of {', '.join(map(repr, error.validator_value))}." + registry.nearest(
            instance, error.validator_value
        )
    if error.validator == "type":
        return f"{key}: {_described(instance)} where {_type_name(error.validator_value)} is wanted.{_cause(instance)}"
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - instance.keys())
        return f"{key}: {', '.join(missing)} is missing. {error.schema.get('description', '')}".rstrip()
    if error.validator == "oneOf":
        return f"{key}: exactly one of {' and '.join(each['required'][0] for each in error.validator_value)} is wanted"
    return f"{key}: {error.message} ({error.schema.get('description', 'see config/README.md')})"


def _described(value) -> str:
    return f"{value!r} ({type(value).__name__})"


def _type_name(wanted) -> str:
    plain = {"object": "a mapping", "array": "a list", "string": "text", "integer": "a whole number"}
    return " or ".join(plain.get(each, f"a {each}") for each in ([wanted] if isinstance(wanted, str) else wanted))


def _cause(value) -> str:
    """Why a number may have become text."""
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return " YAML reads 1e-3 as text (write 1.0e-3), and --config makes nested values text (use --configfile)."


def _check_names(config: dict, schema: dict) -> list[str]:
    """What the schema cannot know: names that refer to one another, and settings of what is found by name."""
    problems = []
    for name, entry in config["datasets"].items():
        problems += _check_settings(f"datasets.{name}", "faces.sources", "source", entry, {"alignment"})
        key = f"datasets.{name}.alignment"
        problems += _check_settings(key, "faces.detectors", "engine", entry["alignment"], {"batch_size", "shards"})
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
    if not problems and holds_its_weights(student):
        problems.append(f"student.network: {student['architecture']} can teach, but cannot be trained")
    chosen = config["export"]["method"]
    problems += _check_reference("export.method", chosen, config["methods"]) if chosen else []
    for name, entry in config["methods"].items():
        problems += _check_settings(f"methods.{name}", "losses", "loss", entry, {"label", "training"})
        problems += _check_overrides(f"methods.{name}.training", entry["training"], schema["$defs"]["training"])
        training = {**config["second_stage"]["training"], **entry["training"]}
        problems += _check_sampling(
            f"methods.{name}.training" if entry["training"] else "second_stage.training", training, config["execution"]
        )
    for index, name in enumerate(config["profile"]["networks"]):
        problems += _check_reference(f"profile.networks.{index}", name, config["networks"])
    return list(dict.fromkeys(problems))


SAMPLING = {"uniform": ({"batch_size"}, set()), "identities": ({"identities", "images"}, {"minimum_images", "singles"})}
"""Kind of sampling to the keys that it needs and those that it may have."""


def _check_sampling(key: str, training: dict, execution: dict) -> list[str]:
    """A kind of sampling has just its own keys, and a batch can be shared out among the processes."""
    sampling = training["sampling"]
    needed, optional = SAMPLING[sampling["kind"]]
    given = sampling.keys() - {"kind"}
    wrong = [f"{name} is missing" for name in sorted(needed - given)]
    wrong += [f"{name} does not go with it (null takes it out)" for name in sorted(given - needed - optional)]
    if wrong:
        return [f"{key}.sampling: kind {sampling['kind']!r}: {', '.join(wrong)}"]
    size = sampling.get("batch_size") or sampling["identities"] * sampling["images"] + sampling.get("singles", 0)
    processes = execution["processes"] * execution["nodes"]
    if size % processes:
        return [f"{key}.sampling: {size} images a step cannot be shared out evenly among {processes} processes"]
    return []


def _check_overrides(key: str, given: dict, schema: dict) -> list[str]:
    errors = sorted(Draft202012Validator(schema).iter_errors(given), key=_place)
    return [f"{key}.{_explain(error).removeprefix('(top level): ')}" for error in errors]


def _check_reference(key: str, name: str, there: dict) -> list[str]:
    if name in there:
        return []
    return [f"{key}: {name!r} is not defined. Defined: {', '.join(there)}.{registry.nearest(name, there)}"]


def _check_settings(key: str, room: str, selector: str, entry: dict, own: set[str]) -> list[str]:
    """Check the settings in ``entry`` against what the file that ``entry[selector]`` names takes."""
    name = entry[selector]
    if name not in registry.names(room):
        allowed = registry.names(room)
        return [f"{key}.{selector}: {name!r} is not one of {', '.join(allowed)}.{registry.nearest(name, allowed)}"]
    allowed = registry.arguments(room, name)
    problems = []
    for setting, value in entry.items():
        if setting in own or setting == selector:
            continue
        if setting not in allowed:
            names = sorted(allowed.keys() | own | {selector})
            hint = registry.nearest(setting, names)
            problems.append(f"{key}.{setting}: {name} takes no such setting.{hint} Allowed: {', '.join(names)}")
        elif not _fits(value, allowed[setting][0]):
            problems.append(
                f"{key}.{setting}: {_described(value)} where {allowed[setting][0]} is wanted.{_cause(value)}"
            )
    missing = [each for each, (_, default) in allowed.items() if default is registry.REQUIRED and each not in entry]
    return problems + [f"{key}.{each}: {name} needs this setting" for each in missing]


def _fits(value, annotation: str) -> bool:
    kinds = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list, "dict": dict}
    if annotation not in kinds:
        return True
    return isinstance(value, kinds[annotation]) and (annotation == "bool" or not isinstance(value, bool))


def holds_its_weights(network: dict) -> bool:
    """Whether a network is a model that is complete as it comes, such as one in ONNX."""
    return registry.attribute("networks", network["architecture"], "holds_its_weights", default=False)


def loss_settings(method: dict) -> dict:
    """The settings of a method's loss: its entry without what is not the loss's own."""
    return {key: value for key, value in method.items() if key not in ("loss", "label", "training")}


def method_distance(method: dict) -> str:
    """The distance that a method uses, from its entry or the default in its file."""
    return method.get("distance", registry.arguments("losses", method["loss"])["distance"][1])


def for_rerun(config: dict, resolved: dict) -> dict:
    """The resolved configuration, with the nulls that take entries of the default study out.

    Given back as an overlay, it is the same study again.
    """
    return {key: resolved[key] for key in sorted(resolved)} | {
        key: {**{name: None for name, value in config[key].items() if value is None}, **entry}
        for key, entry in resolved.items()
        if isinstance(entry, dict) and key in config
    }


def write_config(config: dict, output: str) -> None:
    """Write a configuration as YAML."""
    write_text(output, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
