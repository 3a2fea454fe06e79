# What the stages have in common: the checked configuration, names of models and files, and what a job depends on.
import atexit
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]

# This process, jobs and `module:` import the library from here, whether or not it is installed.
sys.path.insert(0, str(ROOT / "src"))
# Jupyter finds the kernel that is this Python before the user's own, and leaves the user's folders alone.
JUPYTER = Path(".snakemake/jupyter").absolute()
os.environ.update(
    {
        # Rules with `notebook:` call programs that are beside this Python, whose environment may not be activated.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", os.defpath)]),
        "JUPYTER_PATH": str(ROOT / "workflow/notebooks"),
        "JUPYTER_CONFIG_DIR": str(JUPYTER / "config"),
        "JUPYTER_DATA_DIR": str(JUPYTER / "data"),
        "JUPYTER_RUNTIME_DIR": str(JUPYTER / "runtime"),
        "IPYTHONDIR": str(JUPYTER / "ipython"),
        # Snakemake prefers papermill: a foreign one would run, and without any the shell complains on the screen.
        "BASH_FUNC_papermill%%": "() { return 1; }",
    }
)
# In jobs, names of files and what is in them are UTF-8, whatever the locale.
os.environ.update(
    PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT / "src"), os.getenv("PYTHONPATH")])), PYTHONUTF8="1"
)

from triplet_distillation import (
    configuration,
    local_files,
    logs,
    methods,
    portable,
    provenance,
    registry,
    sharing,
    versions,
)

# Before any job of this run writes its log.
STARTED = time.time()


class StudyError(WorkflowError):
    """What a user can correct: shown without the lines of this workflow that noticed it."""

    __traceback__ = property(lambda self: None, lambda self, value: None)


try:
    default_study = configuration.read_yaml(ROOT / "config.yaml")
    config = configuration.in_order_of(config, default_study)
    study = configuration.resolve(config, configuration.read_yaml(ROOT / "workflow/schemas/config.schema.yaml"))
    configuration.check_name(config, default_study)
    config = configuration.with_title(config, default_study)
    study["title"] = config.get("title", study["title"])
except configuration.ConfigurationError as error:
    raise StudyError(str(error))

# Where `<results>` is: the Snakefile says so after this file.
PATHVARS = workflow.pathvars

if study["execution"]["portable"]:
    try:
        portable.check_machine()
    except portable.PortabilityError as error:
        raise StudyError(str(error))
    portable.replace_environment(portable.portable_environment(os.environ))
else:
    portable.replace_environment(portable.native_environment(os.environ))

SEEDS = study["seeds"]
METHODS = list(study["methods"])
STUDENTS = [f"students/{method}" for method in METHODS]
FROM_SCRATCH = [
    f"students/{name}" for name, method in study["methods"].items() if methods.initial_of(method) == "random"
]
# Further models: some are trained here, some come as networks, some as scores.
OTHERS = [f"models/{name}" for name in study["models"]]
SCORED_ELSEWHERE = {f"models/{name}": model["scores"] for name, model in study["models"].items() if "scores" in model}
MODELS = ["teacher", "student", *STUDENTS, *OTHERS]
WITH_NETWORK = [model for model in MODELS if model not in SCORED_ELSEWHERE]
# Variants of methods, for a table of their own.
VARIANTS = methods.ablation_methods(study)
ABLATED = [f"students/{name}" for name in VARIANTS]
ALL_METHODS = study["methods"] | {name: variant.method for name, variant in VARIANTS.items()}
LABELS = {
    **{role: methods.label_of_role(role, study) for role in ("teacher", "student")},
    **{f"students/{name}": method.get("label", name) for name, method in study["methods"].items()},
    **{f"models/{name}": model.get("label", name) for name, model in study["models"].items()},
}
BENCHMARKS = {name: benchmark.get("label", name) for name, benchmark in study["benchmarks"].items()}
NETWORK_FILES = {
    name: network["path"] for name, network in study["networks"].items() if configuration.is_pretrained(network)
}
# Models whose weights exist already, with the file; the others are trained.
NETWORKS = {role: study[role] for role in ("teacher", "student")} | {
    f"models/{name}": model for name, model in study["models"].items() if "network" in model
}
PRETRAINED = {
    role: path for role, model in NETWORKS.items() if (path := model["weights"] or NETWORK_FILES.get(model["network"]))
}
TRAINED = [role for role in NETWORKS if role not in PRETRAINED]
NEVER_MATCHES = "(?!)"
EXPORTED = study["export"]["method"] or METHODS[-1]
TRAINING_STORE = f"<results>/faces/{study['training_data']['dataset']}/store.arrow"
DISTANCES = sorted(
    {
        methods.method_distance(method)
        for method in study["methods"].values()
        if "margins" in methods.required_inputs(method) and methods.main_teacher(method) == "teacher"
    }
)
# Distillations with a control that takes their mean margin.
MATCHED = [
    methods.matched_method(name, study["methods"])
    for name, method in study["methods"].items()
    if methods.is_control(method)
]
# Snapshots of the teacher before the end of its training, numbered from 0.
SNAPSHOTS = range(study["teacher"]["snapshots"] if "teacher" in TRAINED else 0)
BENCHMARKS_ON_TRAINING_DATA = [
    name for name, benchmark in study["benchmarks"].items() if benchmark["dataset"] == study["training_data"]["dataset"]
]
# Benchmarks whose people nobody may be trained on: on the same data set, or on another where both have people's names.
HELD_OUT_FROM_TRAINING = [
    name
    for name, benchmark in study["benchmarks"].items()
    if configuration.names_are_comparable(benchmark["dataset"], study["training_data"]["dataset"], study["datasets"])
]
# Benchmarks that can be exported as verification packs, which have no templates.
PAIRS_OF_FACES = [
    name
    for name, benchmark in study["benchmarks"].items()
    if not configuration.compares_templates(benchmark, study["datasets"])
]
# Data sets that are exported as training packs.
PACKED = list(study["datasets"]) if study["packs"]["held_out"] else [study["training_data"]["dataset"]]
FIXED_MARGINS = {
    method.get("label", name): method["margin"]
    for name, method in study["methods"].items()
    if method["loss"] == "triplet" and not methods.is_control(method)
}
CLAIMS = [
    tuple(
        "student" if name is None else f"models/{name}" if name in study["models"] else f"students/{name}"
        for name in claim
    )
    for claim in methods.claims(study)
]
USES_CLASS_MEANS = any("class_means" in methods.required_inputs(method) for method in study["methods"].values())
STUDENT_HAS_CENTERS = "student" in TRAINED and "class_centers" in registry.attribute(
    "losses", study["student"]["method"]["loss"], "provides"
)
# Jobs that measure time take all cores of this machine, so that nothing runs at the same time. A scheduler's nodes are
# other machines: there they take one, and a job must count them as the process does that submitted it.
ON_THIS_MACHINE = workflow.local_exec and not workflow.remote_exec
ALL_CORES = (workflow.resource_settings.cores or 1) if ON_THIS_MACHINE else 1
# Which kernels compute the results: with others, everything is computed again.
KERNELS = provenance.digest(portable.VARIABLES)[:8] if study["execution"]["portable"] else "native"
USES_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
INFERENCE = {key: study["execution"][key] for key in ("threads", "device", "portable", "keep_memory")}
GPUS = int(study["execution"]["device"] != "cpu")
TRAINING_GPUS = GPUS * study["execution"]["processes"]
TRAINING_THREADS = study["execution"]["threads"] * study["execution"]["processes"]


wildcard_constraints:
    dataset=r"[A-Za-z0-9_-]+",
    benchmark=r"[A-Za-z0-9_-]+",
    network=r"[A-Za-z0-9_-]+",
    method=r"[A-Za-z0-9_.-]+",
    model=r"teacher|student|(students|models)/[A-Za-z0-9_.-]+",
    distance=r"[a-z_]+",
    seed=r"[0-9]+",
    round=r"[0-9]+",
    shard=r"[0-9]+",
    snapshot=r"(snapshots/[0-9]+/)?",
    further=r"(models/[A-Za-z0-9_.-]+/)?",


def round_of(seed):
    """The round of a run: which people it holds out."""
    return SEEDS.index(int(seed)) % study["rounds"]


def first_stage_seed(role, seed):
    """The seed of the teacher or student (or further model) that a run uses, which several runs may share."""
    if role in PRETRAINED:
        return SEEDS[0]
    if role in SCORED_ELSEWHERE:
        every = study["models"][role.removeprefix("models/")]["runs"] == "all"
        return int(seed) if every else SEEDS[round_of(seed)]
    return SEEDS[round_of(seed)] if NETWORKS[role]["shared"] else int(seed)


def first_stage_seeds(role):
    """Seeds of all teachers, or students, that are trained or imported."""
    return list(dict.fromkeys(first_stage_seed(role, seed) for seed in SEEDS))


def first_stage_file(role, name):
    """An input function: a file of the teacher or student that a run uses."""
    return lambda wildcards: f"<results>/{role}/seed{first_stage_seed(role, wildcards.seed)}/{name}"


def weights_seed(model, seed):
    """The seed of a model's weights in a run: its own, or that of a shared teacher or student."""
    return int(seed) if model.startswith("students/") else first_stage_seed(model, seed)


def evaluated_seed(model, seed):
    """The run whose evaluation of ``model`` a run shares: of the same first-stage model, on the same people."""
    return int(seed) if weights_seed(model, seed) == int(seed) else SEEDS[round_of(seed)]


def weights_of(wildcards):
    """The weights of a model in one run."""
    model = wildcards.model
    return f"<results>/{model}/seed{weights_seed(model, wildcards.seed)}/weights.safetensors"


def round_on(benchmark, seed):
    """The round of a run on a benchmark; people who are not trained on need not take turns."""
    return round_of(seed) if benchmark in BENCHMARKS_ON_TRAINING_DATA else 0


def pairs_of(benchmark, seed):
    return f"<results>/split/round{round_on(benchmark, seed)}/pairs/{benchmark}.parquet"


def templates_of(benchmark, seed):
    """The faces of a benchmark's templates, if it compares any."""
    return f"<results>/split/round{round_on(benchmark, seed)}/templates/{benchmark}.parquet"


def test_faces_of(benchmark, seed):
    """All faces of the people in a benchmark's pairs."""
    return f"<results>/split/round{round_on(benchmark, seed)}/test_faces/{benchmark}.parquet"


def seed_of_round(number):
    """The first run of a round."""
    return SEEDS[int(number)]


def embeddings_of(benchmark, wildcards):
    """A model's embeddings of the faces of everyone who is tested on a benchmark's data set."""
    return f"<results>/evaluation/{wildcards.model}/seed{wildcards.seed}/{benchmark_data(benchmark)}.safetensors"


def training_set(wildcards):
    """The training set of a run."""
    return f"<results>/split/round{round_of(wildcards.seed)}/training_set.parquet"


ROUNDS = range(study["rounds"])
TRAINING_SETS = [f"<results>/split/round{number}/training_set.parquet" for number in ROUNDS]
# The pairs that the models of every round are tested on, and all faces of the people in them.
TESTED_IN_ROUND = {
    (benchmark, number): pairs_of(benchmark, SEEDS[number]) for benchmark in BENCHMARKS for number in ROUNDS
}
TEST_FACES = {
    (benchmark, number): test_faces_of(benchmark, SEEDS[number]) for benchmark in BENCHMARKS for number in ROUNDS
}


def report_context(models, labels):
    """What every table and figure needs: names, and for every run (seed) which evaluation of a model belongs to it."""
    return {
        "labels": labels,
        "benchmarks": BENCHMARKS,
        "seeds": SEEDS,
        "runs": {model: [evaluated_seed(model, seed) for seed in SEEDS] for model in models},
        "weights": {model: [weights_seed(model, seed) for seed in SEEDS] for model in models},
        "rounds": [round_of(seed) for seed in SEEDS],
        "test_groups": {benchmark: [round_on(benchmark, seed) for seed in SEEDS] for benchmark in BENCHMARKS},
        "far": {
            name: entry["far"] if entry["metric"] == "tar_at_far" else None
            for name, entry in study["benchmarks"].items()
        },
        "flip": study["evaluation"]["flip"],
    }


REPORT_CONTEXT = report_context(MODELS, LABELS)
VARIANT_LABELS = {
    f"students/{name}": ", ".join([LABELS[f"students/{variant.base}"], f"{variant.setting}: {variant.value}"])
    for name, variant in VARIANTS.items()
}
# The variants, with the methods that they are variants of.
ABLATION_CONTEXT = report_context(
    [*(f"students/{base}" for base in study["ablations"]), *ABLATED],
    LABELS | VARIANT_LABELS,
)
ABLATIONS = methods.ablations(study)


def evaluations(name, context=REPORT_CONTEXT):
    """Evaluations of every model (``metrics.json`` or ``scores.parquet``), ordered by model and run."""
    return [
        f"<results>/evaluation/{model}/seed{seed}/{name}"
        for model, runs in context["runs"].items()
        for seed in dict.fromkeys(runs)
    ]


def code(script, *modules):
    """Version of the code that a script runs: its own, that of the library modules that it uses, and the kernels."""
    return f"{provenance.code_version(ROOT / 'workflow/scripts' / script, *modules)}-{KERNELS}"


def notebook_code(name):
    """Version of the code in a notebook's cells, as :func:`code`; its text is left out."""
    path = ROOT / "workflow/notebooks" / name
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    cells = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, path.stem)
        script.write_text("\n".join(cells), encoding="utf-8")
        try:
            return f"{provenance.code_version(script)}-{KERNELS}"
        except SyntaxError as error:
            raise StudyError(f"{path}: {error.msg} in {(error.text or '').strip()!r}: a cell must be plain Python")


def shared_folder(stage):
    """Where results of a stage are kept that do not depend on the study; empty if this study shares none.

    A parameter that takes `output` is never compared: another place makes no other result.
    """
    return str(Path(PATHVARS.apply("<results>")).parent / "shared" / stage) if study["share"] else ""


def network_code(network):
    return f"networks.{study['networks'][network]['architecture']}"


def source_settings(dataset):
    """A data set's source and its own settings."""
    return {key: value for key, value in study["datasets"][dataset].items() if key != "alignment"}


def source_code(dataset):
    return f"faces.sources.{study['datasets'][dataset]['source']}"


def alignment_code(dataset):
    return source_code(dataset), f"faces.detectors.{study['datasets'][dataset]['alignment']['detector']}"


def shard_files(dataset, extension):
    """Files of a data set's shards; there is only one if the source's faces are already aligned."""
    entry = study["datasets"][dataset]
    aligned = registry.attribute("faces.sources", entry["source"], "aligned", default=False)
    shards = range(1 if aligned else entry["alignment"]["shards"])
    return [f"<results>/faces/{dataset}/shards/{shard}.{extension}" for shard in shards]


def benchmark_data(benchmark):
    return study["benchmarks"][benchmark]["dataset"]


def benchmark_store(benchmark):
    return f"<results>/faces/{benchmark_data(benchmark)}/store.arrow"


BENCHMARK_STORES = [benchmark_store(benchmark) for benchmark in BENCHMARKS]


def benchmarks_on(dataset):
    return [benchmark for benchmark in BENCHMARKS if benchmark_data(benchmark) == dataset]


def protocol(benchmark, number):
    """How a benchmark's pairs are made: held_out, published or pairs, with its settings, and the round."""
    entry = study["benchmarks"][benchmark]
    rounds = study["rounds"] if benchmark in BENCHMARKS_ON_TRAINING_DATA else 1
    found = {key: entry[key] for key in ("held_out", "published", "pairs") if key in entry}
    if "published" in found:
        found["published"] = entry["published"] | {
            "protocol": configuration.published_protocol(entry, study["datasets"])
        }
    return found | {"round": (int(number), rounds)}


def pairs_needed(benchmark):
    """Folds and impostor pairs without which a benchmark's metric means nothing."""
    entry = study["benchmarks"][benchmark]
    if entry["metric"] == "accuracy":
        return {"folds": 2, "impostors": 1}
    return {"folds": 1, "impostors": 10 / entry["far"]}


def held_out_from(seed):
    """What says on whom a run is not trained: the faces that it tests, with their stores."""
    return {
        "stores": [benchmark_store(benchmark) for benchmark in HELD_OUT_FROM_TRAINING],
        "faces": [test_faces_of(benchmark, seed) for benchmark in HELD_OUT_FROM_TRAINING],
    }


def left_out_of_pack(wildcards):
    """What says whom a training pack leaves out: those on whom the first run is not trained."""
    return {"stores": [], "faces": []} if study["packs"]["held_out"] else held_out_from(SEEDS[0])


def false_accept_rates(benchmark):
    """The study's false accept rates, and the one that the benchmark's metric is about."""
    entry = study["benchmarks"][benchmark]
    own = {entry["far"]} if entry["metric"] == "tar_at_far" else set()
    return sorted(own | set(study["evaluation"]["far"]), reverse=True)


EVALUATION = {
    "flip": study["evaluation"]["flip"],
    "far": {benchmark: false_accept_rates(benchmark) for benchmark in BENCHMARKS},
    "templates": {benchmark: study["benchmarks"][benchmark]["templates"] for benchmark in BENCHMARKS},
}


def pairs_file(benchmark):
    """The user's own pairs, if the benchmark has any."""
    return study["benchmarks"][benchmark].get("pairs", {}).get("file", [])


def who_is_tested(benchmark, number):
    """Who is in a file of pairs, as a parameter; unknown as long as there is no face store. Nothing for other pairs.

    Snakemake compares no parameters that are derived from `input`, so the store's path is made here.
    """
    entry = protocol(benchmark, number)
    if "pairs" not in entry or not os.path.isfile(entry["pairs"]["file"]):
        return {}  # a file that is missing is an input of make_pairs, so Snakemake says so
    from triplet_distillation.faces import split  # only here: it takes time to import

    folder = PATHVARS.apply(f"<results>/faces/{benchmark_data(benchmark)}")
    files = split.DatasetFiles(f"{folder}/store.arrow", f"{folder}/images")
    try:
        return split.digest_of_tested(files, source_settings(benchmark_data(benchmark)), split.Protocol(**entry))
    except ValueError:
        # The file is wrong, or ahead of the store, which is about to be made again: the job will tell.
        return provenance.file_digest(entry["pairs"]["file"])


def network_of(model):
    return NETWORKS.get(model, study["student"])["network"]


def training_code(network, method):
    return code("train.py", network_code(network), f"losses.{method['loss']}")


def training_settings(name, network, method, training):
    """What a training run reads from the configuration, apart from paths and seed."""
    return {
        "name": name,
        "network": study["networks"][network],
        "loss": method["loss"],
        "loss_settings": methods.loss_settings(method),
        "training": training,
        "execution": study["execution"],
    }


def role_settings(role):
    entry = NETWORKS[role]
    return training_settings(role, entry["network"], entry["method"], entry["training"])


def method_settings(name):
    method = ALL_METHODS[name]
    return training_settings(name, study["student"]["network"], method, methods.method_training(method, study))


def model_name(teacher):
    """The model that a method calls its teacher: the study's own, or a further model."""
    return teacher if teacher == "teacher" else f"models/{teacher}"


def teacher_embeddings(wildcards):
    """Embeddings by the study's teacher, or by a further model."""
    model = str(Path(wildcards.further)) if wildcards.further else "teacher"
    return first_stage_file(model, "embeddings.npy")(wildcards)


def teacher_folders(method, seed):
    """Where the embeddings are that a method learns from: those of its teachers, or of the teacher as it was trained."""
    folders = []
    names = methods.teachers_of(method) if "teacher_embeddings" in methods.required_inputs(method) else []
    for name in names:
        model = model_name(name)
        folder = f"<results>/{model}/seed{first_stage_seed(model, seed)}"
        if "teacher_snapshots" in methods.required_inputs(method):
            folders += [f"{folder}/snapshots/{number}" for number in SNAPSHOTS]
        folders.append(folder)
    return folders


def teacher_summaries(method, seed):
    """Margins, class means and class centers that a method requires of its first teacher."""
    required, found = methods.required_inputs(method), {}
    teacher = model_name(methods.main_teacher(method))
    # What is made from another teacher than the study's own is in a folder of that model.
    further = "" if teacher == "teacher" else f"{teacher}/"
    class_means = f"<results>/class_means/{further}seed{seed}.safetensors"
    if "margins" in required:
        found["margins"] = f"<results>/calibration/{further}{methods.method_distance(method)}.seed{seed}.json"
    if "class_means" in required:
        found["class_means"] = class_means
    if "class_centers" in required:
        trained = f"<results>/{teacher}/seed{first_stage_seed(teacher, seed)}/loss.safetensors"
        found["class_centers"] = class_means if NETWORKS[teacher]["class_centers"] == "means" else trained
    return found


def embedding_folders(method, seed):
    """Where all embeddings are that a method needs, for itself or for what is made of them."""
    teacher = model_name(methods.main_teacher(method))
    own = f"<results>/{teacher}/seed{first_stage_seed(teacher, seed)}"
    summarized = any(not path.startswith(f"{own}/") for path in teacher_summaries(method, seed).values())
    return list(dict.fromkeys([*teacher_folders(method, seed), *([own] if summarized else [])]))


def method_inputs(wildcards):
    """What a method requires beyond the faces."""
    method = ALL_METHODS[wildcards.method]
    required = methods.required_inputs(method)
    starts_from_student = methods.initial_of(method) == "student"
    inputs = {}
    if folders := teacher_folders(method, wildcards.seed):
        inputs["teacher_weights"] = [f"{folder}/weights.safetensors" for folder in folders]
        inputs["teacher_embeddings"] = [f"{folder}/embeddings.npy" for folder in folders]
        inputs["teacher_sidecars"] = [f"{folder}/embeddings.json" for folder in folders]
    inputs |= teacher_summaries(method, wildcards.seed)
    if "student_centers" in required and starts_from_student and STUDENT_HAS_CENTERS:
        inputs["student_centers"] = first_stage_file("student", "loss.safetensors")(wildcards)
    if starts_from_student:
        inputs["initial"] = first_stage_file("student", "weights.safetensors")(wildcards)
    if methods.is_control(method):
        distilled = methods.matched_method(wildcards.method, study["methods"])
        inputs["matched_margin"] = f"<results>/calibration/matched/{distilled}.seed{{seed}}.json"
    return inputs


def margin_inputs(wildcards):
    """What sets the margins of a distillation, before any student is trained."""
    inputs = method_inputs(wildcards)
    return {name: path for name, path in inputs.items() if name not in ("initial", "student_centers")}


# Data sets and models whose embeddings are kept; those that are the teacher itself have its structure.
TESTED_DATASETS = list(dict.fromkeys(benchmark_data(benchmark) for benchmark in BENCHMARKS))
SAME_AS_TEACHER = [model for model in OTHERS if model in PRETRAINED and PRETRAINED[model] == PRETRAINED.get("teacher")]
STRUCTURED = [model for model in WITH_NETWORK if model not in SAME_AS_TEACHER]


def structure_context():
    """The report's context for what models have learned from the teacher: data sets are benchmarks, and runs with another
    teacher are other runs of a model, also where they share it."""
    first = {dataset: benchmarks_on(dataset)[0] for dataset in TESTED_DATASETS}
    context = report_context(STRUCTURED, LABELS)
    weights = context["weights"]
    pairs = {model: list(zip(weights["teacher"], weights[model])) for model in STRUCTURED}
    return context | {
        "benchmarks": {name: ", ".join(BENCHMARKS[each] for each in benchmarks_on(name)) for name in TESTED_DATASETS},
        "test_groups": {dataset: context["test_groups"][benchmark] for dataset, benchmark in first.items()},
        "far": dict.fromkeys(TESTED_DATASETS),
        "runs": dict.fromkeys(STRUCTURED, SEEDS),
        "weights": {model: [pairs[model].index(pair) for pair in pairs[model]] for model in STRUCTURED},
    }


# What the notebook about the similarity structure reads, relative to the study's folder; see the library's StructureStudy.
STRUCTURE = {
    "context": structure_context(),
    "claims": CLAIMS,
    "embeddings": {
        dataset: {
            model: [f"evaluation/{model}/seed{evaluated_seed(model, seed)}/{dataset}.safetensors" for seed in SEEDS]
            for model in STRUCTURED
        }
        for dataset in TESTED_DATASETS
    },
    "stores": {dataset: f"faces/{dataset}/store.arrow" for dataset in TESTED_DATASETS},
    "training_sets": [f"split/round{number}/training_set.parquet" for number in ROUNDS],
    "margins": [f"calibration/{distance}.seed{seed}.json" for distance in DISTANCES[:1] for seed in SEEDS],
    "distance": [*DISTANCES, "squared_euclidean"][0],
    "triplets": study["calibration"]["triplets"],
}


def structure_inputs():
    """All files that the notebook reads."""
    embeddings = [path for models in STRUCTURE["embeddings"].values() for paths in models.values() for path in paths]
    paths = [*embeddings, *STRUCTURE["stores"].values(), *STRUCTURE["training_sets"], *STRUCTURE["margins"]]
    return [f"<results>/{path}" for path in dict.fromkeys(paths)]


def published_hashes():
    """The file that this study is compared with: another machine's, or the workflow's own."""
    path = Path(study["published_hashes"] or ROOT / f"config/hashes/{study['study']}.json")
    if not path.is_file():
        raise StudyError(
            f"there are no published hashes at {path}: set published_hashes to the results/<study>/hashes.json of "
            "another machine"
        )
    return str(path)


def caption(name):
    return str(ROOT / "report" / f"{name}.rst")


# All embeddings that any method learns from.
TEACHER_EMBEDDINGS = list(
    dict.fromkeys(
        f"{folder}/embeddings.npy"
        for method in ALL_METHODS.values()
        for seed in SEEDS
        for folder in embedding_folders(method, seed)
    )
)
# Of all models that are trained or imported here.
WEIGHTS = [
    f"<results>/{model}/seed{seed}/weights.safetensors"
    for model in [*NETWORKS, *STUDENTS, *ABLATED]
    for seed in (first_stage_seeds(model) if model in NETWORKS else SEEDS)
]
# What is made of them, or of a teacher's classifier, for any method.
TEACHER_SUMMARIES = list(
    dict.fromkeys(
        path for method in ALL_METHODS.values() for seed in SEEDS for path in teacher_summaries(method, seed).values()
    )
)


def images_trained_on(training):
    """Passes of images through the network in one training."""
    return training["iterations"] * methods.batch_size(training)


def method_entry(name):
    """What the table of methods says about a method; see the library's MethodEntry."""
    method = study["methods"][name]
    return {
        "loss": method["loss"],
        "family": methods.INITIAL[methods.initial_of(method)],
        "images": images_trained_on(methods.method_training(method, study)),
        "starts_from_student": methods.initial_of(method) == "student",
        "embeddings": len(embedding_folders(method, SEEDS[0])),
        "settings": methods.loss_settings(method) | method["training"],
        "tuned": method.get("tuned"),
    }


METHOD_ENTRIES = {f"students/{name}": method_entry(name) for name in METHODS}
# Timings of all trainings of students, by model.
TRAINING_TIMINGS = {
    **(
        {"student": [f"<results>/student/seed{seed}/timing.json" for seed in first_stage_seeds("student")]}
        if "student" in TRAINED
        else {}
    ),
    **{model: [f"<results>/{model}/seed{seed}/timing.json" for seed in SEEDS] for model in STUDENTS},
}


def timings_of_jobs():
    """Rule to the timings of its jobs in this run, whether or not they have to run again.

    To be called in a parameter that takes `output`, which Snakemake never compares: which jobs there are depends on the
    target that the user names.
    """
    timings, folder = {}, PATHVARS.apply("<results>/timings/")
    for job in workflow.dag.jobs:
        # Not those of another study, or of a workflow that imports this one.
        if str(job.benchmark).startswith(folder):
            timings.setdefault(job.rule.name, []).append(str(job.benchmark))
    return {rule: sorted(paths) for rule, paths in sorted(timings.items())}


def model_in_words(role):
    """The network of teacher or student, and how it was trained."""
    network = study[role]["network"]
    if role in PRETRAINED:
        return f"{network}, pretrained"
    return f"{network}, {study[role]['training']['iterations']} steps of {methods.loss_title(study[role]['method'])}"


def training_to_check(settings, runs):
    """A training, as the library's TrainingParts."""
    method = settings["loss_settings"] | {"loss": settings["loss"]}
    return {
        **{key: settings[key] for key in ("network", "loss", "loss_settings", "training")},
        "independent": not (methods.required_inputs(method) or methods.is_control(method)),
        "runs": runs,
    }


def parts_to_check():
    """What `check` looks through; see the library's StudyParts."""
    return {
        "datasets": {dataset: source_settings(dataset) for dataset in study["datasets"]},
        "downloads": study["downloads"],
        "benchmarks": {
            name: {
                "dataset": benchmark_data(name),
                "protocols": [
                    protocol(name, number) for number in (ROUNDS if name in BENCHMARKS_ON_TRAINING_DATA else [0])
                ],
                "required": pairs_needed(name),
            }
            for name in BENCHMARKS
        },
        "training_data": study["training_data"]["dataset"],
        "minimum_images": study["training_data"]["minimum_images"],
        "held_out": HELD_OUT_FROM_TRAINING,
        "trainings": {role: training_to_check(role_settings(role), len(first_stage_seeds(role))) for role in TRAINED}
        | {f"methods.{name}": training_to_check(method_settings(name), len(SEEDS)) for name in ALL_METHODS},
        "weights": {role: (study["networks"][network_of(role)], path) for role, path in PRETRAINED.items()},
        "scores": SCORED_ELSEWHERE,
        "execution": study["execution"],
        "embedding_models": len(TEACHER_EMBEDDINGS),
    }


def parts_of_cost():
    """What the cost of a study follows from; see the library's CostParts."""
    embedding = [path.removeprefix("<results>/").partition(f"{os.sep}seed")[0] for path in TEACHER_EMBEDDINGS]
    runs = {**ABLATION_CONTEXT["runs"], **REPORT_CONTEXT["runs"]}
    evaluated = [model for model in runs if model not in SCORED_ELSEWHERE for _ in dict.fromkeys(runs[model])]
    return {
        "study": parts_to_check(),
        "embedded": [study["networks"][network_of(model)] for model in embedding],
        "evaluated": [study["networks"][network_of(model)] for model in evaluated],
        "stores": {dataset: PATHVARS.apply(f"<results>/faces/{dataset}/store.arrow") for dataset in study["datasets"]},
    }


def check_local_files():
    """Stop if something that the user brings is not there; `check` finds it, too, with everything else."""
    if any(job.rule.name in ("check", "cost") for job in workflow.dag.jobs):
        return
    try:
        local_files.check_files(study, Path(PATHVARS.apply("<results>")))
    except configuration.ConfigurationError as error:
        raise StudyError(str(error))


def show_causes_at_exit():
    """Show why jobs have failed after all that Snakemake has to say, so that it is the last thing on the screen."""
    causes = logs.causes_of_failure(PATHVARS.apply("<results>/logs"), STARTED)
    atexit.register(lambda: print("", *dict.fromkeys(causes), sep="\n", file=sys.stderr))


def event_of(record):
    """What a message of Snakemake's is about, such as ``JOB_INFO``; empty if it does not say."""
    return getattr(getattr(record, "event", None), "name", "")


class OneLinePerJob(logging.Filter):
    """Leaves what Snakemake says of a job to its log file: jobs say themselves what they made. Errors stay."""

    LEFT_OUT = ("JOB_INFO", "GROUP_INFO", "JOB_FINISHED")
    SCHEDULER = ("Select jobs to execute...", "Execute ")

    def filter(self, record):
        return event_of(record) not in self.LEFT_OUT and not record.getMessage().startswith(self.SCHEDULER)


class TimeLeft(logging.Formatter):
    """Says how many jobs are done, with the time that the others take if they take as long; the rest as Snakemake does."""

    def __init__(self, others):
        super().__init__()
        self.others = others

    def format(self, record):
        if event_of(record) != "PROGRESS":
            return self.others.format(record)
        done, total = record.done, record.total
        seconds = (time.time() - STARTED) / done * (total - done)
        left = f", about {logs.as_duration(seconds)} left" if done < total else ""
        return f"{done} of {total} jobs done{left}"


def show_one_line_per_job():
    """Keep the screen readable, unless the user wants to see everything (``--verbose``) or uses another logger."""
    for handler in logging.getLogger("snakemake.logging").handlers:
        if handler.name == "DefaultStreamHandler" and not workflow.output_settings.verbose:
            handler.setFormatter(TimeLeft(handler.formatter))
            if workflow.local_exec:  # elsewhere, jobs are not heard here
                handler.addFilter(OneLinePerJob())


def older_results():
    """One line about results that were made with other versions of the libraries than those installed; or nothing."""
    trained = [f"{role}/seed{seed}" for role in TRAINED for seed in first_stage_seeds(role)]
    distilled = [f"students/{name}/seed{seed}" for name in ALL_METHODS for seed in SEEDS]
    results = {
        "align": [f"<results>/faces/{dataset}/store.arrow" for dataset in study["datasets"]],
        "train": [f"<results>/{model}/weights.safetensors" for model in trained],
        "distill": [f"<results>/{model}/weights.safetensors" for model in distilled],
        "embed": [str(Path(path).with_suffix(".json")) for path in TEACHER_EMBEDDINGS],
        "profile": [f"<results>/profile/{network}.json" for network in NETWORKS_OF_TABLE_1],
    }
    return versions.older_results({rule: list(map(PATHVARS.apply, paths)) for rule, paths in results.items()})
