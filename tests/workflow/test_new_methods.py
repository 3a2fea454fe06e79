"""A new method is one file and one entry: whatever it asks for, the DAG provides it."""

import re
from pathlib import Path

import pandas as pd
import pytest
from layouts import make_folder
from safetensors.numpy import load_file
from test_workflow import SMALL, Study

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]
HEAD = """
import torch
from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.softmax import cosines

"""
FILES = {
    "teacher_size": """
class TeacherSizeLoss(Loss):
    requires: tuple[str, ...] = ("teacher_embeddings",)

    def __init__(self, context: LossContext):
        super().__init__()
        self.projection = torch.nn.Linear(context.embedding_size, context.teacher_size)

    def forward(self, embeddings, step):
        return (self.projection(embeddings) - step.teacher).square().mean(), {"teacher_size": step.teacher.shape[1]}
""",
    "means": """
class MeansLoss(Loss):
    requires = ("class_means",)

    def __init__(self, context: LossContext, *, weight: float = 1.0):
        super().__init__()
        self.weight = weight
        self.register_buffer("means", context.provided("class_means"), persistent=False)

    def forward(self, embeddings, step):
        cosine = cosines(embeddings[:, :16], self.means[:, :16])
        return -self.weight * cosine.gather(1, step.labels[:, None]).mean(), {"identities": len(self.means)}
""",
    "centers": """
class CentersLoss(Loss):
    requires = ("teacher_embeddings", "class_centers")

    def __init__(self, context: LossContext):
        super().__init__()
        self.register_buffer("centers", context.provided("class_centers"), persistent=False)

    def forward(self, embeddings, step):
        logits = cosines(step.teacher, self.centers)
        accuracy = (logits.argmax(dim=1) == step.labels).float().mean()
        return embeddings.square().mean(), {"centers": len(self.centers), "teacher_accuracy": accuracy}
""",
    "scratch": """
class ScratchLoss(Loss):
    initial = "random"

    def forward(self, embeddings, step):
        return (embeddings.norm(dim=1) - 1).square().mean(), {}
""",
    "own_batches": """
class OwnBatchesLoss(Loss):
    training_defaults = {"iterations": 3, "sampling": {"kind": "uniform", "batch_size": 6}}

    def forward(self, embeddings, step):
        return embeddings.square().mean(), {"images": len(embeddings), "index": step.index, "of": step.iterations}
""",
    "two_teachers": """
class TwoTeachersLoss(Loss):
    requires = ("teacher_embeddings",)
    num_teachers = 2

    def forward(self, embeddings, step):
        first, second = step.teachers
        mean = (first @ first.T + second @ second.T) / 2
        return (cosines(embeddings, embeddings) - mean).square().mean(), {"apart": (first - second).abs().max()}
""",
}


def example() -> str:
    """The file of docs/add-a-method.md."""
    return re.search(r"```python\n(.*?)```", (ROOT / "docs/add-a-method.md").read_text(), re.DOTALL)[1]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods")
    study = Study(folder)
    losses = study.root / "src/triplet_distillation/losses"
    for name, text in FILES.items():
        (losses / f"{name}.py").write_text(HEAD + text)
    (losses / "neighborhoods.py").write_text(example())
    (losses / "half_written.py").write_text("class HalfLoss(Loss):\n    def forward(self, embeddings\n")
    uniform = {"kind": "uniform", "batch_size": 16}
    training = {"training": {"augmentation": {"shift": 2}}}
    study.overlay |= {
        "study": "methods",
        "datasets": {
            "orl": None,
            "mine": make_folder(folder / "mine", [f"p{i}" for i in range(10)]) | {"alignment": {"shards": 1}},
        },
        "training_data": {"dataset": "mine"},
        "benchmarks": {"orl_unseen": None, "mine": {"dataset": "mine", "held_out": {"identities": 4, "folds": 2}}},
        "teacher": SMALL["teacher"] | {"snapshots": 1},
        "models": {"second": {"network": "tiny", "training": {"iterations": 3, "sampling": uniform}}},
        "methods": {
            **dict.fromkeys(["triplet_0.3", "triplet_0.4", "triplet_0.5", "triplet_matched", "triplet_distillation"]),
            **{name: {"loss": name} for name in FILES},
            "two_teachers": {"loss": "two_teachers", "teachers": ["teacher", "second"]},
            "neighborhoods": {"loss": "neighborhoods", "temperature": 0.2, "label": "+ neighborhoods", **training},
            "multi_step_kd": {"loss": "multi_step_kd"},
            "from_second": {"loss": "triplet_distillation", "teachers": ["second"]},
        },
    }
    study.overlay["second_stage"] = {"training": {"iterations": 2, "sampling": {"p": 4, "k": 3}}}
    study.configure()
    study.results = study.root / "results/methods"
    study.snakemake("results/methods/tables/methods.csv", "results/methods/figures/training_curves.svg")
    return study


@pytest.fixture(scope="module")
def distillations(study):
    """What a dry run says of every distillation, after what it says of other jobs."""
    text = study.snakemake("results/methods/tables/methods.csv", "-n", "--forcerun", "distill").text
    return text.split("rule distill")


def history(study, method: str) -> pd.DataFrame:
    return pd.read_parquet(study.results / f"students/{method}/seed0/history.parquet")


def test_every_new_method_is_a_row_with_its_cost(study):
    table = pd.read_csv(study.results / "tables/methods.csv").set_index("model")
    assert {"student", *FILES, "neighborhoods", "multi_step_kd", "from_second"} == set(table.index)
    assert table.loc["neighborhoods", "label"] == "+ neighborhoods"
    assert set(table.index[table.family == "train from scratch"]) == {"scratch", "multi_step_kd"}
    first, batch, faces = 3 * 16, 4 * 3, 60
    assert table.loc["student", "images"] == table.loc["scratch", "images"] == first
    assert table.loc["neighborhoods", "images"] == first + 2 * batch
    assert table.loc["own_batches", "images"] == first + 3 * 6
    caches = table.teacher_images / (2 * faces)
    assert caches[["student", "scratch", "neighborhoods", "two_teachers", "multi_step_kd"]].tolist() == [0, 0, 1, 2, 2]
    assert (table.seconds > 0).all()
    assert table.loc["neighborhoods", "mine_change"] == pytest.approx(
        table.loc["neighborhoods", "mine"] - table.loc["student", "mine"]
    )


def test_methods_get_what_they_ask_for(study):
    assert set(history(study, "teacher_size").teacher_size) == {32}
    assert set(history(study, "means").identities) == {6}
    assert set(history(study, "centers").centers) == {6}
    assert (history(study, "two_teachers").apart > 0.01).all()
    own = history(study, "own_batches")
    assert own.images.tolist() == [6] * 3
    assert own["index"].tolist() == [0, 1, 2]
    assert own.of.tolist() == [3] * 3
    assert len(history(study, "neighborhoods")) == 2


def test_class_centers_are_those_of_the_teachers_classifier(study, distillations):
    centers = load_file(study.results / "teacher/seed0/loss.safetensors")["class_centers"]
    assert centers.shape == (6, 32)
    job = next(job for job in distillations if "wildcards: method=centers," in job)
    assert "teacher/seed0/loss.safetensors" in job
    assert "class_means" not in job


def test_margins_of_another_teacher_are_its_own(study):
    assert not (study.results / "calibration/squared_euclidean.seed0.json").exists()
    assert (study.results / "calibration/models/second/squared_euclidean.seed0.json").is_file()


def test_start_is_that_of_the_method(study, distillations):
    student = load_file(study.results / "student/seed0/weights.safetensors")
    jobs = {re.search(r"method=([\w.]+)", job)[1]: job for job in distillations[1:]}
    starts = {name for name, job in jobs.items() if "student/seed0/weights.safetensors" in job}
    assert jobs.keys() - starts == {"scratch", "multi_step_kd"}
    assert student.keys() == load_file(study.results / "students/scratch/seed0/weights.safetensors").keys()


def test_mistakes_in_a_file_are_reported_with_the_file_and_without_a_traceback(study):
    losses = study.root / "src/triplet_distillation/losses"
    wrong = {
        "half_written": ("", "half_written.py cannot be read"),
        "computed": ("class ALoss(Loss):\n    requires = tuple(['margins'])\n", "requires is tuple(['margins'])"),
        "default": (
            "class BLoss(Loss):\n    def __init__(self, context, *, weight: float = 1 / 3):\n        pass\n",
            "the default of weight is 1 / 3",
        ),
        "no_distance": ("class CLoss(Loss):\n    requires = ('margins',)\n", "give it that setting"),
        "unknown": ("class DLoss(Loss):\n    requires = ('class_mean',)\n", "Did you mean 'class_means'?"),
        "large": ("class ELoss(Loss):\n    min_batch_size = 50\n", "needs batches of at least 50 images, not 12"),
    }
    for name, (text, _) in wrong.items():
        if text:
            (losses / f"{name}.py").write_text(text)
    study.configure("wrong.yaml", methods=study.overlay["methods"] | {name: {"loss": name} for name in wrong})
    result = study.snakemake("-n", check=False, config="wrong.yaml")
    assert result.returncode
    assert "Traceback" not in result.text
    for name, (_, message) in wrong.items():
        assert any(f"methods.{name}." in line and message in line for line in result.text.splitlines()), name
