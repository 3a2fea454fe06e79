"""An invalid configuration is rejected with the key, the allowed values and the nearest valid name."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from triplet_distillation import annotations, configuration, local_files, methods, registry
from triplet_distillation.losses.distances import DISTANCES
from triplet_distillation.losses.triplets import MINERS

ROOT = Path(__file__).parents[1]
SCHEMA = configuration.read_yaml(ROOT / "workflow/schemas/config.schema.yaml")
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def modified_config(path, value):
    config = copy.deepcopy(DEFAULT)
    *parents, last = path.split("/")
    entry = config
    for parent in parents:
        entry = entry.setdefault(parent, {})
    entry[last] = value
    return config


def test_default_study_is_valid_and_every_default_is_filled_in():
    resolved = configuration.resolve(DEFAULT, SCHEMA)
    assert resolved["student"]["training"]["momentum"] == 0.9
    assert resolved["second_stage"]["training"]["augmentation"]["flip"] is True
    assert configuration.resolve(resolved, SCHEMA) == resolved


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("studdy", "x", ["studdy: unknown key", "'study'"]),
        ("student/training/learning_rat", 0.1, ["student.training.learning_rat", "'learning_rate'", "momentum"]),
        ("methods/triplet_0.3/marign", 0.3, ["methods.triplet_0.3.marign", "'margin'"]),
        ("methods/new", {"loss": "triplett"}, ["methods.new.loss", "'triplet'", "arcface"]),
        ("methods/new", {"loss": "triplet"}, ["methods.new.margin", "requires this setting"]),
        ("methods/triplet_0.3/margin", "0.3", ["methods.triplet_0.3.margin", "'0.3' (str)", "--configfile"]),
        ("student/training/learning_rate", "1e-3", ["student.training.learning_rate", "1.0e-3"]),
        ("student/training/schedule", "cosin", ["'cosin' is not one of 'steps', 'cosine'", "'cosine'"]),
        ("student/network", "slimm", ["student.network", "'slim'"]),
        ("networks/slim/depht", 3, ["networks.slim.depht", "stem"]),
        ("networks/iresnet100/architecture", "iresnett", ["networks.iresnet100.architecture", "'iresnet'"]),
        ("datasets/orl/source", "orll", ["datasets.orl.source", "'orl'"]),
        ("datasets/orl/alignment/detector", "mtcn", ["datasets.orl.alignment.detector", "mtcnn_package"]),
        ("benchmarks/orl_unseen/dataset", "orel", ["benchmarks.orl_unseen.dataset", "'orl'"]),
        ("training_data/dataset", "lfw", ["training_data.dataset", "Defined: orl"]),
        ("seeds", [], ["seeds"]),
        ("seeds", 0, ["seeds", "expected a list"]),
        ("seeds", [0.0, 1], ["seeds.0: expected a whole number, got 0.0 (float). Write 0."]),
        ("rounds", 1.0, ["rounds: expected a whole number, got 1.0 (float). Write 1."]),
        (
            "student/training/learning_rate",
            float("nan"),
            ["student.training.learning_rate: expected a number, got nan"],
        ),
        (
            "methods/triplet_0.3/training",
            {"iterations": 8.0},
            ["methods.triplet_0.3.training.iterations: expected a whole number, got 8.0 (float). Write 8."],
        ),
        ("study", "a/b", ["study", "letters, digits"]),
        ("execution/device", "gpu", ["execution.device"]),
        ("execution/device", "cuda", ["execution.portable", "device cuda", "set portable to false"]),
        ("execution/compile", True, ["execution.portable", "compile True"]),
        ("execution/precision", "bf16", ["execution.portable", "precision bf16"]),
        ("execution/processes", 5, ["student.training.sampling", "48 images per step", "among 5 processes"]),
        ("export/method", "triplet_9", ["export.method", "triplet_distillation"]),
        (
            "networks/slim",
            {"architecture": "onnx_teacher", "path": "a.onnx"},
            ["student.network: onnx_teacher can be a teacher, but cannot be trained"],
        ),
        ("student/training/sampling", {"kind": "uniform"}, ["student.training.sampling", "batch_size"]),
        (
            "second_stage/training/sampling",
            {"kind": "pk", "p": 3, "k": 2, "batch_size": 6},
            ["second_stage.training.sampling", "batch_size"],
        ),
        ("methods/triplet_0.3/training", {"iteration": 3}, ["methods.triplet_0.3.training.iteration", "'iterations'"]),
        ("profile/networks", ["slim", "big"], ["profile.networks.1", "'big' is not defined"]),
        ("methods/triplet_0.3/distance", "euclid", ["methods.triplet_0.3.distance", "'euclidean'"]),
        ("methods/triplet_0.3/mining", "hardest", ["methods.triplet_0.3.mining", "now called 'batch_hard'"]),
        ("second_stage/training/sampling/kind", "identities", ["sampling.kind", "now called 'pk'"]),
    ],
)
def test_error_names_the_key_and_the_remedy(path, value, expected):
    with pytest.raises(configuration.ConfigurationError) as error:
        configuration.resolve(modified_config(path, value), SCHEMA)
    for text in expected:
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "new"),
    [
        ("datasets/orl/alignment/engine", "mtcnn", "detector"),
        ("benchmarks/orl_unseen/held_out/people", 12, "identities"),
        ("networks/slim/last", 448, "last_channels"),
        ("networks/sface", {"architecture": "onnx_teacher", "path": "a.onnx", "colour_order": "BGR"}, "color_order"),
        ("teacher/method/sampled", 0.1, "sample_rate"),
        ("methods/triplet_0.3/selection", "all", "mining"),
        ("methods/triplet_0.3/number", 10, "num_triplets"),
        ("methods/softmax", {"loss": "arcface", "sampled": 0.1}, "sample_rate"),
        ("second_stage/training/sampling/identities", 14, "p"),
        ("second_stage/training/sampling/images", 4, "k"),
        ("methods/triplet_0.3/training", {"sampling": {"kind": "pk", "singles": 3}}, "extra_negatives"),
        ("student/training/augmentation/mirror", True, "flip"),
        ("teacher/licence", "MIT", "license"),
        ("student/licence", "MIT", "license"),
        ("evaluation/mirror", "add", "flip"),
        ("export/fmr", [0.1], "far"),
    ],
)
def test_old_key_is_answered_with_the_new_one(path, value, new):
    with pytest.raises(configuration.ConfigurationError, match=f"It is now called '{new}'"):
        configuration.resolve(modified_config(path, value), SCHEMA)


def test_choices_of_a_setting_are_those_that_its_function_knows():
    for loss in ("triplet", "triplet_distillation"):
        settings = registry.arguments("losses", loss)
        assert annotations.choices(settings["distance"][0]) == tuple(DISTANCES)
        assert annotations.choices(settings["mining"][0]) == tuple(MINERS)


def test_all_errors_are_reported_together():
    config = modified_config("studdy", 1)
    config["evaluation"]["flip"] = "concat"
    with pytest.raises(configuration.ConfigurationError) as error:
        configuration.resolve(config, SCHEMA)
    assert "studdy" in str(error.value)
    assert "evaluation.flip" in str(error.value)


def test_null_removes_an_entry_and_it_stays_removed_in_a_rerun():
    overlay = modified_config("methods/triplet_0.3", None)
    resolved = configuration.resolve(overlay, SCHEMA)
    assert "triplet_0.3" not in resolved["methods"]
    for_rerun = configuration.for_rerun(overlay, resolved)
    assert for_rerun["methods"]["triplet_0.3"] is None
    assert configuration.resolve(for_rerun, SCHEMA) == resolved


def test_every_key_has_a_description():
    def visit(schema, path):
        for name, entry in schema.get("properties", {}).items():
            if "$ref" not in entry:
                assert entry.get("description"), f"{path}{name} has no description"
            visit(entry, f"{path}{name}.")
        if isinstance(schema.get("additionalProperties"), dict):
            visit(schema["additionalProperties"], f"{path}*.")

    visit(SCHEMA, "")
    for name, shared in SCHEMA["$defs"].items():
        visit(shared, f"{name}.")


def test_method_distance_falls_back_to_the_default_of_its_loss():
    assert methods.method_distance({"loss": "triplet_distillation"}) == "squared_euclidean"
    assert methods.method_distance({"loss": "triplet_distillation", "distance": "cosine"}) == "cosine"


@pytest.mark.parametrize("annotation", ["list", "Sequence[int]"])
def test_setting_that_is_a_list_must_be_one(annotation):
    assert annotations.fits([1, 2], annotation)
    assert not annotations.fits("1, 2", annotation)


def test_control_matches_the_only_distillation():
    entries = DEFAULT["methods"]
    assert methods.is_control(entries["triplet_matched"])
    assert methods.matched_method("triplet_matched", entries) == "triplet_distillation"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"triplet_distillation": None}, "(none: the study has no such method)"),
        ({"second": {"loss": "triplet_distillation"}}, "one of: triplet_distillation, second"),
        ({"triplet_distillation": {"loss": "triplet_distillation", "mining": "random"}}, "mining differs"),
        ({"triplet_0.3": {"loss": "triplet", "margin": 0.3, "matches": "x"}}, "only a method with margin: matched"),
    ],
)
def test_control_without_its_distillation_is_rejected(changes, expected):
    with pytest.raises(configuration.ConfigurationError) as error:
        configuration.resolve(modified_config("methods", DEFAULT["methods"] | changes), SCHEMA)
    assert expected in str(error.value)


def test_first_claim_is_distillation_against_its_control_and_every_method_meets_the_student():
    study = configuration.resolve(DEFAULT, SCHEMA)
    claims = methods.claims(study)
    assert claims[0] == ("triplet_distillation", "triplet_matched")
    assert {b for a, b in claims if a == "triplet_distillation"} == {*DEFAULT["methods"], None} - {
        "triplet_distillation"
    }
    assert [a for a, b in claims if b is None] == list(DEFAULT["methods"])
    assert len(claims) == len(set(claims)) == 9
    fixed = {name: method for name, method in study["methods"].items() if "margin" in method and name[-1].isdigit()}
    assert ("triplet_0.5", "triplet_0.3") in methods.claims(study | {"methods": fixed})
    assert ("triplet_0.4", "triplet_0.3") in methods.claims(study | {"methods": fixed, "reference": "triplet_0.4"})


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("rounds", 2, "5 seeds cannot be divided evenly among 2 rounds"),
        ("rounds", 0, "rounds"),
        ("methods/triplet_0.3/margin", "matchd", "methods.triplet_0.3.margin"),
        ("student/method", {"loss": "triplet", "margin": "matched"}, "student.method: triplet requires a distill"),
        ("teacher/method", {"loss": "triplet_distillation"}, "teacher.method: triplet_distillation requires teacher"),
        ("methods/triplet_0.3/label", "+ triplet distillation", "occurs more than once"),
        ("methods/triplet_0.3/label", "+  triplet distillation ", "occurs more than once"),
        ("methods/triplet_0.3/label", "a</Script>b", "methods.triplet_0.3.label: 'a</Script>b' contains '</Script'"),
        ("title", "<!-- mine", "title: '<!-- mine' contains '<!--'"),
    ],
)
def test_rounds_and_margins_are_checked(path, value, expected):
    with pytest.raises(configuration.ConfigurationError, match=expected):
        configuration.resolve(modified_config(path, value), SCHEMA)


def test_rounds_need_a_benchmark_whose_people_take_turns():
    config = modified_config("rounds", 5)
    config["datasets"] |= {"other": {"source": "folder", "path": "x"}}
    config["training_data"] = {"dataset": "other"}
    with pytest.raises(configuration.ConfigurationError, match="nobody takes turns"):
        configuration.resolve(config, SCHEMA)


ABLATED = {"triplet_distillation": {"distance": ["squared_euclidean", "cosine"], "training.learning_rate": [0.1, 0.05]}}


def test_variants_differ_in_one_setting_and_their_method_is_not_repeated():
    resolved = configuration.resolve(modified_config("ablations", ABLATED), SCHEMA)
    variants = methods.ablation_methods(resolved)
    assert list(variants) == [
        "triplet_distillation-distance-cosine",
        "triplet_distillation-training.learning_rate-0.05",
    ]
    base = resolved["methods"]["triplet_distillation"]
    assert variants["triplet_distillation-distance-cosine"].method == {**base, "distance": "cosine"}
    other = variants["triplet_distillation-training.learning_rate-0.05"].method
    assert other == {**base, "training": {"learning_rate": 0.05}}
    rows = methods.ablations(resolved)
    assert [row["models"][0] for row in rows] == ["students/triplet_distillation"] * 2
    assert [row["own"] for row in rows] == ["squared_euclidean", 0.1]


@pytest.mark.parametrize(
    ("ablations", "expected"),
    [
        (
            {"triplet_distilation": {"distance": ["cosine"]}},
            ["ablations.triplet_distilation", "'triplet_distillation'"],
        ),
        ({"triplet_distillation": {"distanse": ["cosine"]}}, ["ablations.triplet_distillation.distanse", "'distance'"]),
        ({"triplet_distillation": {"distance": ["cosin"]}}, ["distance", "'cosin' is not one of", "'cosine'"]),
        ({"triplet_distillation": {"distance": "cosine"}}, ["ablations.triplet_distillation.distance", "a list"]),
        ({"triplet_distillation": {"training.iteration": [3]}}, ["iteration", "'iterations'"]),
        ({"triplet_distillation": {"training.iterations": [0]}}, ["training.iterations"]),
        ({"triplet_distillation": {"loss": ["triplet"]}}, ["ablations.triplet_distillation.loss"]),
        ({"triplet_matched": {"distance": ["cosine"]}}, ["ablations.triplet_matched", "control"]),
        ({"triplet_0.3": {"margin": ["matched"]}}, ["ablations.triplet_0.3.margin", "makes a control"]),
        ({"triplet_0.3": {"training.augmentation": [{"flip": False}]}}, ["vary one of its keys"]),
        ({"triplet_0.3": {"training.clip_norm": [False]}}, ["ablations.triplet_0.3.training.clip_norm"]),
    ],
)
def test_wrong_ablations_are_rejected(ablations, expected):
    with pytest.raises(configuration.ConfigurationError) as error:
        configuration.resolve(modified_config("ablations", ablations), SCHEMA)
    for text in expected:
        assert text in str(error.value)


def test_variant_of_a_nested_key_leaves_the_others_as_they_are():
    ablations = {"triplet_0.3": {"training.augmentation.shift": [4, 0]}}
    resolved = configuration.resolve(modified_config("ablations", ablations), SCHEMA)
    ((name, variant),) = methods.ablation_methods(resolved).items()
    assert name == "triplet_0.3-training.augmentation.shift-0"
    training = methods.method_training(variant.method, resolved)
    assert training["augmentation"] == {**resolved["second_stage"]["training"]["augmentation"], "shift": 0}
    assert methods.ablations(resolved)[0]["models"] == ["students/triplet_0.3", f"students/{name}"]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("models/x", {"scores": "x.csv", "label": "Student (ArcFace)"}, ["'Student (ArcFace)' occurs more than once"]),
        ("models/x", {"scores": "x.csv", "weights": "x.pt"}, ["models.x.weights: scores need no weights"]),
        ("models/x", {"scores": ""}, ["models.x.scores"]),
        (
            "methods/new",
            {"loss": "triplet_distillation", "min_margin": 0.9, "max_margin": 0.5},
            ["methods.new: min_margin 0.9 is above"],
        ),
        ("models/triplet_0.3", {"scores": "x.csv"}, ["models.triplet_0.3: there is already a model of this name"]),
        ("models/other", {"network": "slimm", "weights": "x.pt"}, ["models.other.network", "'slim'"]),
        ("models/other", {"network": "slim"}, ["models.other.weights: mobilefacenet does not come with weights"]),
        ("models/other", {"label": "x"}, ["models.other: set exactly one of network, scores"]),
        ("models/other", {"scores": "x", "label": "+ triplet distillation"}, ["occurs more than once"]),
        ("benchmarks/orl_unseen", {"dataset": "orl", "published": {}}, ["orl has no published protocol: use held_out"]),
        ("benchmarks/orl_unseen", {"dataset": "orl"}, ["set exactly one of held_out, published, pairs"]),
        ("benchmarks/orl_unseen/far", 0, ["benchmarks.orl_unseen.far"]),
    ],
)
def test_models_and_protocols_are_checked(path, value, expected):
    with pytest.raises(configuration.ConfigurationError) as error:
        configuration.resolve(modified_config(path, value), SCHEMA)
    for text in expected:
        assert text in str(error.value)


def test_protocol_is_one_of_the_sources_and_templates_have_no_folds():
    config = copy.deepcopy(DEFAULT)
    config["datasets"] |= {"cfp": {"source": "cfp", "path": "x"}, "ijb": {"source": "ijb", "path": "x"}}
    config["benchmarks"] |= {
        "a": {"dataset": "cfp", "published": {"protocol": "PP"}},
        "b": {"dataset": "ijb", "published": {}},
    }
    with pytest.raises(configuration.ConfigurationError) as error:
        configuration.resolve(config, SCHEMA)
    assert "benchmarks.a.published.protocol: 'PP' is not one of 'FP', 'FF'" in str(error.value)
    assert "benchmarks.b.metric: ijb has no folds: use tar_at_far" in str(error.value)
    config["benchmarks"] |= {"a": {"dataset": "cfp", "published": {"protocol": "FF"}}}
    config["benchmarks"]["b"]["metric"] = "tar_at_far"
    configuration.resolve(config, SCHEMA)
    config["datasets"]["cfp"]["protocol"] = "FF"
    with pytest.raises(configuration.ConfigurationError, match=r"It is now benchmarks\.<name>\.published\.protocol"):
        configuration.resolve(config, SCHEMA)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"teacher/weights": "t.safetensors", "methods/x": {"loss": "center_distillation"}},
            [
                "methods.x.loss",
                "class centers of its teacher (teacher), which comes without",
                "teacher.class_centers to means",
            ],
        ),
        (
            {"teacher/method": {"loss": "triplet", "margin": 0.3}, "methods/x": {"loss": "hinton"}},
            ["methods.x.loss", "of which triplet leaves none", "set teacher.class_centers to means"],
        ),
        (
            {"models/m": {"network": "slim", "weights": "m.pt"}, "methods/x": {"loss": "hinton", "teachers": ["m"]}},
            ["its teacher (m), which comes without", "set models.m.class_centers to means"],
        ),
        ({"methods/x": {"loss": "multi_step_kd"}}, ["methods.x.loss", "set teacher.snapshots"]),
        (
            {"teacher/weights": "t.pt", "teacher/snapshots": 3, "methods/x": {"loss": "multi_step_kd"}},
            ["methods.x.loss", "but this teacher comes with its weights"],
        ),
        (
            {
                "models/m": {"network": "slim", "weights": "m.pt"},
                "teacher/snapshots": 3,
                "methods/x": {"loss": "multi_step_kd", "teachers": ["m"]},
            },
            ["methods.x.teachers", "only the study's own teacher has"],
        ),
        ({"teacher/snapshots": 100}, ["teacher.snapshots: 100 are too many for a training of 100 steps"]),
        ({"teacher/method/loss": "arcfase", "methods/x": {"loss": "hinton"}}, ["Did you mean 'arcface'?"]),
        ({"teacher/network": "iresnett", "methods/x": {"loss": "multi_step_kd"}}, ["teacher.network", "not defined"]),
        (
            {"networks/iresnet18_quarter/architecture": "iresnett", "methods/x": {"loss": "hinton"}},
            ["Did you mean 'iresnet'?"],
        ),
        ({"methods/x": {"loss": "margin_distillation", "min_margin": 0.6}}, ["min_margin 0.6 is above max_margin 0.5"]),
        ({"methods/x": {"loss": "ekd", "anchors": []}}, ["methods.x.anchors", "expected Sequence[int]"]),
        ({"methods/x": {"loss": "ekd", "anchors": [10, 10.5]}}, ["methods.x.anchors", "expected Sequence[int]"]),
        (
            {"methods/x": {"loss": "rkd", "tuned": {"settings": ["angel_weight"], "trials": 3, "chosen_on": "us"}}},
            ["methods.x.tuned.settings: 'angel_weight'", "'angle_weight'"],
        ),
        (
            {"methods/triplet_matched": {"loss": "triplet", "margin": "matched", "initial": "random"}},
            ["a control may differ from triplet_distillation in the margin only", "initial"],
        ),
        ({"methods/x": {"loss": "rkd", "teachers": ["teecher"]}}, ["methods.x.teachers.0", "'teacher'"]),
        (
            {
                "models/m": {"network": "slim", "weights": "m.pt"},
                "methods/x": {"loss": "rkd", "teachers": ["teacher", "m"]},
            },
            ["methods.x.teachers: rkd learns from 1 teachers, but the entry has 2"],
        ),
        ({"methods/x": {"loss": "arcface", "teachers": ["teacher"]}}, ["methods.x.teachers: arcface has no teacher"]),
        ({"methods/x": {"loss": "rkd", "initial": "teacher"}}, ["methods.x.initial", "'student', 'random'"]),
        ({"methods/x": {"loss": "rkd", "tuned": {"trials": 3}}}, ["methods.x.tuned", "chosen_on, settings"]),
        (
            {"methods/x": {"loss": "rkd", "training": {"augmentation": {"shfit": 2}}}},
            ["methods.x.training.augmentation.shfit: unknown key", "'shift'"],
        ),
        ({"reference": "triplet"}, ["reference: 'triplet' is not defined"]),
        ({"methods/teacher": {"loss": "rkd"}}, ["methods.teacher: there is already a model of this name"]),
        ({"methods/x": {"loss": "../losses/rkd"}}, ["methods.x.loss", "is not one of"]),
        ({"student/snapshots": 2}, ["student: snapshots and class_centers are settings of the teacher"]),
        ({"student/method": {"loss": "rkd"}}, ["student.method: rkd requires teacher_embeddings"]),
        ({"models/m": {"network": "slim"}}, ["models.m.weights", "set their path, or training"]),
        (
            {"models/m": {"network": "slim", "weights": "m.pt", "training": {"iterations": 2}}},
            ["models.m.training: it has weights already"],
        ),
    ],
)
def test_what_a_method_requires_is_checked_with_the_configuration(changes, expected):
    message = message_of(changes)
    for text in expected:
        assert text in message


def test_brought_teacher_gives_its_class_means_if_asked():
    config = modified_config("teacher", DEFAULT["teacher"] | {"weights": "t.safetensors", "class_centers": "means"})
    config["methods"]["x"] = {"loss": "center_distillation"}
    config["models"] = {"m": {"network": "slim", "weights": "m.pt", "class_centers": "means"}}
    config["methods"]["y"] = {"loss": "center_distillation", "teachers": ["m"]}
    study = configuration.resolve(config, SCHEMA)
    assert methods.main_teacher(study["methods"]["y"]) == "m"
    assert methods.claims(study)[-1][1] is None  # a teacher is not compared with


def test_training_of_a_method_is_that_of_its_start_with_nested_overrides():
    config = modified_config("methods/near", {"loss": "rkd", "training": {"augmentation": {"shift": 2}}})
    config["methods"]["far"] = {"loss": "arcface", "initial": "random", "training": {"iterations": 7}}
    config["methods"]["other"] = {"loss": "rkd", "training": {"sampling": {"kind": "uniform", "batch_size": 9}}}
    config["methods"]["fewer"] = {"loss": "rkd", "training": {"sampling": {"k": 3}}}
    study = configuration.resolve(config, SCHEMA)
    training = {name: methods.method_training(method, study) for name, method in study["methods"].items()}
    second, student = study["second_stage"]["training"], study["student"]["training"]
    assert training["near"] == second | {"augmentation": second["augmentation"] | {"shift": 2}}
    assert training["far"] == student | {"iterations": 7}
    assert training["other"]["sampling"] == {"kind": "uniform", "batch_size": 9}
    assert training["fewer"]["sampling"] == second["sampling"] | {"k": 3}


def test_entries_of_an_overlay_follow_those_of_the_default():
    """Snakemake puts them first; the last method is the one that is exported."""
    merged = {"methods": {"mine": {}, "b": {"y": 1, "x": 2}, "a": {}}, "study": "s"}
    ordered = configuration.in_order_of(merged, {"study": "d", "methods": {"a": {}, "b": {"x": 0}, "c": {}}})
    assert list(ordered) == ["study", "methods"]
    assert list(ordered["methods"]) == ["a", "b", "mine"]
    assert list(ordered["methods"]["b"]) == ["x", "y"]
    assert ordered == merged


def test_every_study_of_the_workflow_is_valid_and_its_methods_start_where_they_say():
    overlay = yaml.safe_load((ROOT / "config/methods.yaml").read_text(encoding="utf-8"))

    def merge(base, changes):
        nested = {
            key: merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
            for key, value in changes.items()
        }
        return base | nested

    study = configuration.resolve(merge(DEFAULT, overlay), SCHEMA)
    used = {method["loss"] for method in study["methods"].values()}
    assert used == set(registry.names("losses"))
    images = {
        name: methods.method_training(method, study)["iterations"]
        * methods.batch_size(methods.method_training(method, study))
        for name, method in study["methods"].items()
    }
    first = study["student"]["training"]
    budget = images["triplet_distillation"] + first["iterations"] * methods.batch_size(first)
    for name, method in study["methods"].items():
        spent = images[name] + (methods.initial_of(method) == "student") * 960
        assert abs(spent - budget) < 24, name


def test_student_of_the_papers_setting_has_one_weight_decay():
    """That of its network, in both stages; the paper does not state any."""
    overlay = yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8"))
    student, second = overlay["student"]["training"], overlay["second_stage"]["training"]
    assert second["weight_decay"] == student["weight_decay"] == 4e-5


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        ({"device": "cuda:0", "processes": 2}, "execution.device: cuda:0 is one GPU, but a training has 2 processes"),
        ({"device": "cuda:1", "nodes": 2}, "execution.device: cuda:1 is one GPU, but a training has 2 processes"),
        ({"device": "gpu"}, "execution.device: 'gpu' is not allowed. PyTorch device, cpu, cuda or"),
        ({"device": "cuda:x"}, "execution.device: 'cuda:x' is not allowed."),
        ({"device": "CPU"}, "execution.device: 'CPU' is not allowed."),
    ],
)
def test_device_that_a_training_cannot_use_is_refused(execution, expected):
    assert expected in message_of({"execution": {"portable": False, **execution}})


@pytest.mark.parametrize("execution", [{"device": "cuda", "processes": 2}, {"device": "cuda:1"}, {"processes": 2}])
def test_device_of_one_process_or_of_each(execution):
    configuration.resolve(modified_config("execution", {"portable": False, **execution}), SCHEMA)


def test_control_as_reference_is_compared_with_its_distillation_once():
    study = configuration.resolve(DEFAULT | {"reference": "triplet_matched"}, SCHEMA)
    found = methods.claims(study)
    assert ("triplet_distillation", "triplet_matched") in found
    assert ("triplet_matched", "triplet_distillation") not in found
    assert ("triplet_matched", "triplet_0.3") in found


@pytest.mark.parametrize(
    ("annotation", "fits", "misfits"),
    [
        ("Literal['a', 'b'] | None", ["a", None], ["c", 1]),
        ("float | Literal['matched']", [0.5, 1, "matched"], ["other", True]),
        ("int | float", [1, 0.5], ["x"]),
        ("str | float", ["x", 0.5], [[1]]),
        ("Sequence[int]", [[1, 2]], [[], [1.5], ["a"], 3]),
        ("", ["anything", 3], []),
    ],
)
def test_values_are_checked_against_every_kind_of_annotation(annotation, fits, misfits):
    assert all(annotations.fits(value, annotation) for value in fits)
    assert not any(annotations.fits(value, annotation) for value in misfits)


@pytest.mark.parametrize(
    ("changes", "expected", "times"),
    [
        ({"student/training/iteration": 3, "student/training/momentun": 1}, "Allowed: augmentation", 1),
        ({"networks/slim/depht": 3, "networks/slim/widht": 3}, "Allowed: architecture", 1),
        ({"teacher": None, "student": None}, "student, teacher are missing", 1),
        ({"methods/new": {"loss": "triplet", "marign": 1, "minning": "all"}}, "Allowed: distance", 1),
    ],
)
def test_problems_of_one_mapping_are_listed_together(changes, expected, times):
    assert message_of(changes).count(expected) == times


def message_of(changes: dict) -> str:
    config = copy.deepcopy(DEFAULT)
    for path, value in changes.items():
        *parents, last = path.split("/")
        entry = config
        for parent in parents:
            entry = entry.setdefault(parent, {})
        entry[last] = value
    with pytest.raises(configuration.ConfigurationError) as error:
        configuration.resolve(config, SCHEMA)
    return str(error.value)


def test_missing_keys_of_a_partial_configuration_are_one_line():
    """As of a module that is given only the keys that it changes."""
    with pytest.raises(configuration.ConfigurationError) as error:
        configuration.resolve({"study": "mine"}, SCHEMA)
    assert str(error.value).count("\n") == 1
    assert "benchmarks, datasets, methods, networks, student, teacher, training_data are missing" in str(error.value)
    assert "also that of a module" in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("share", "false", "write false without quotes; --config turns it into text (use --configfile)"),
        ("share", "null", "write null without quotes"),
        ("share", 1, "Write true or false."),
        ("seeds", 3, "A list of one value is written [3]."),
        ("seeds", "[1, 2]", "write [1, 2] without quotes"),
        ("seeds", ["1"], "use --configfile"),
        ("title", 7, "Put it in quotes."),
        ("study", False, "Put it in quotes."),
        ("seeds", [None], "seeds.0: expected a whole number, got null."),
        ("execution.threads", 2, "Nested keys belong into a file (--configfile)."),
        ("networks/iresnet18_quarter/dropout", "true", "write true without quotes"),
        ("datasets/orl", {"source": "folder", "path": 3}, "datasets.orl.path: expected str, got 3 (int). Put it"),
        ("datasets/orl", {"source": "folder", "path": "x", "real_names": 1}, "Write true or false."),
        ("study", None, "study is null, which removes it from the default study"),
        ("teacher/network", None, "teacher.network is null, which removes it from the default study"),
        ("datasets/orl", None, "datasets.orl is null, which removes it from the default study"),
        ("networks/slim", None, "networks.slim is null, which removes it from the default study"),
        ("benchmarks/orl_unseen/held_out/identities", 6, "too few for 4 folds, which need two each: set identities to"),
        ("benchmarks/orl_unseen/held_out/folds", 9, "set identities to 18 or more, or folds to 8 or less"),
    ],
)
def test_usual_cause_of_a_wrong_value_is_told(path, value, expected):
    assert expected in message_of({path: value})


def with_local_files(folder: Path) -> dict:
    """A study of the user's own files, none of which is there."""
    config = copy.deepcopy(DEFAULT)
    config["datasets"] |= {
        "mine": {"source": "folder", "path": f"{folder}/photos"},
        "pack": {"source": "insightface_training", "path": f"{folder}/pack"},
        "lfw": {"source": "lfw", "archive": f"{folder}/lfw.tgz", "pairs": f"{folder}/pairs.txt"},
    }
    config["benchmarks"]["own"] = {"dataset": "mine", "pairs": {"file": f"{folder}/pairs.csv"}}
    config["networks"]["sface"] = {"architecture": "onnx_teacher", "path": f"{folder}/sface.onnx"}
    config["teacher"] |= {"network": "sface"}
    config["student"]["weights"] = f"{folder}/student.pt"
    config["models"] = {
        "a": {"network": "slim", "weights": f"{folder}/a.pt"},
        "b": {"scores": f"{folder}/b.csv"},
    }
    return configuration.resolve(config, SCHEMA)


KEYS_OF_FILES = [
    "datasets.mine.path", "datasets.pack.path", "datasets.lfw.archive", "datasets.lfw.pairs",
    "benchmarks.own.pairs.file", "networks.sface.path", "student.weights", "models.a.weights", "models.b.scores",
]  # fmt: skip


def problems_with_files(study: dict, results: Path) -> list[str]:
    with pytest.raises(configuration.ConfigurationError) as error:
        local_files.check_files(study, results)
    return str(error.value).splitlines()[1:]


def test_every_missing_file_is_named_with_its_key(tmp_path):
    problems = problems_with_files(with_local_files(tmp_path / "data"), tmp_path / "results/mine")
    assert sorted(line.split(": ")[0].strip() for line in problems) == sorted(KEYS_OF_FILES)
    assert all(f"does not exist: correct it (relative paths start at {Path.cwd()})" in line for line in problems)


def test_file_of_the_wrong_kind_is_told_from_a_missing_one(tmp_path):
    data, results = tmp_path / "data", tmp_path / "results/mine"
    study = with_local_files(data)
    for name in ("photos", "pack", "sface.onnx"):
        (data / name).mkdir(parents=True)
    (data / "photos/anna.jpg").touch()
    problems = "\n".join(problems_with_files(study, results))
    assert f"datasets.mine.path: '{data}/photos' has no subfolders: put everyone's images" in problems
    assert f"datasets.pack.path: '{data}/pack' has no train.rec" in problems
    assert f"networks.sface.path: '{data}/sface.onnx' is a folder: name a file" in problems
    (data / "photos/anna").mkdir()
    (data / "pack/train.rec").touch()
    assert not any("datasets.mine" in line or "pack" in line for line in problems_with_files(study, results))


def test_file_that_has_been_used_or_that_a_study_makes_need_not_be_there(tmp_path):
    """The folder of photographs may be removed after they were acquired."""
    results = tmp_path / "results/mine"
    study = with_local_files(tmp_path / "results/other")
    local_files.check_files(study, results)
    study = with_local_files(tmp_path / "data")
    for product in ("faces/mine/images.csv", "teacher/seed0/weights.safetensors", "split/round0/pairs/own.parquet"):
        (results / product).parent.mkdir(parents=True)
        (results / product).touch()
    left = {line.split(": ")[0].strip() for line in problems_with_files(study, results)}
    assert {*KEYS_OF_FILES} - left == {"datasets.mine.path", "networks.sface.path", "benchmarks.own.pairs.file"}


@pytest.mark.parametrize(
    ("datasets", "title", "expected"),
    [
        ({"orl": None, "mine": {"source": "folder", "path": "photos"}}, None, "mine"),
        ({"mine": {"source": "folder", "path": "photos"}}, "My photographs", "My photographs"),
        ({"orl": {"source": "orl", "alignment": {"batch_size": 16}}}, None, "mine"),
    ],
)
def test_study_does_not_take_over_the_title_of_the_default_study(datasets, title, expected):
    """Its report and the card of its model would name faces that it has never seen."""
    default = configuration.read_yaml(ROOT / "config.yaml")
    config = copy.deepcopy(default) | {"study": "mine"}
    config["datasets"] |= datasets
    config["title"] = title or default["title"]
    assert configuration.with_title(config, default)["title"] == expected


@pytest.mark.parametrize(
    ("datasets", "study", "refused"),
    [
        ({"orl": None, "mine": {"source": "folder", "path": "photos"}}, None, True),
        ({"mine": {"source": "folder", "path": "photos"}}, None, True),
        ({"mine": {"source": "folder", "path": "photos"}}, "mine", False),
        ({"orl": {"alignment": {"batch_size": 16}}}, None, False),
        ({}, None, False),
    ],
)
def test_study_of_other_images_needs_a_name_of_its_own(datasets, study, refused):
    """Otherwise it would replace the results of the default study."""
    default = configuration.read_yaml(ROOT / "config.yaml")
    config = copy.deepcopy(default)
    for name, entry in datasets.items():
        config["datasets"][name] = entry if entry is None else config["datasets"].get(name, {}) | entry
    config["study"] = study or config["study"]
    if refused:
        with pytest.raises(configuration.ConfigurationError, match="study: 'orl' is the default study"):
            configuration.check_name(config, default)
    else:
        configuration.check_name(config, default)


def test_student_that_was_trained_elsewhere_is_not_named_after_a_loss():
    study = {"student": {"network": "slim", "weights": "", "method": {"loss": "arcface"}}}
    assert methods.label_of_role("student", study) == "Student (ArcFace)"
    study["student"]["weights"] = "student.pt"
    assert methods.label_of_role("student", study) == "Student (slim)"


def test_no_command_waits_for_what_would_check_formats():
    """If Jupyter is installed, jsonschema loads a package that builds grammars for two seconds."""
    code = "import sys, triplet_distillation.configuration; sys.exit('lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
