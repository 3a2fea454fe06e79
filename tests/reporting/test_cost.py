"""What a study costs: by hand for networks and numbers that are easy to calculate with."""

import dataclasses

import pytest
from conftest import make_faces
from test_check import TRAINING

from triplet_distillation.faces import insightface, store
from triplet_distillation.reporting import cost
from triplet_distillation.reporting.check import BYTES_PER_FACE, GIB, BenchmarkParts, StudyParts, TrainingParts
from triplet_distillation.reporting.cost import CostParts, Estimate, Faces, Work, cost_table, wall_hours, write_cost

SIZE = 512
RATE = 1917
"""Images per second of the measured network in fp32."""


def training(iterations: int, batch: int) -> dict:
    return TRAINING | {"iterations": iterations, "sampling": {"kind": "uniform", "batch_size": batch}}


@pytest.fixture
def parts(tmp_path):
    """A teacher that is trained for an hour, a small student, one method in three runs."""
    tiny = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16}
    arcface, triplet = ("arcface", {}), ("triplet_distillation", {})
    study = StudyParts(
        datasets={"mine": {"source": "insightface_training", "path": str(tmp_path / "pack")}},
        downloads={},
        benchmarks={"unseen": BenchmarkParts("mine", [], {})},
        training_data="mine",
        minimum_images=1,
        held_out=["unseen"],
        trainings={
            "teacher": TrainingParts(cost.MEASURED_NETWORK, *arcface, training(3600, RATE), True, 1),
            "student": TrainingParts(tiny, *arcface, training(5118, 10), True, 2),
            "methods.distilled": TrainingParts(tiny, *triplet, training(5118, 6), False, 3),
        },
        weights={},
        scores={},
        execution={"threads": 1, "device": "cuda"},
        embedding_models=1,
    )
    networks = [cost.MEASURED_NETWORK]
    return CostParts(study, networks, networks * 2, {"mine": str(tmp_path / "store.arrow")})


def test_stages_by_hand(parts):
    table = cost_table(parts, Faces(1000, 10), Faces(100)).set_index("stage")
    assert table.index.tolist() == ["align", "train teacher", "train student", "embed", "distill", "evaluate", "total"]
    assert not table["for"].any()
    images = [0, 3600 * RATE, 2 * 51180, 2000, 3 * 6 * 5118, 2 * 2 * 100]
    assert table.images.tolist() == [*images, sum(images)]
    faces_per_second = 3 * RATE / 2  # a forward pass of two images is two thirds of a training's three for one
    seconds = [0, 3600, 2 * 10, 1000 / faces_per_second, 3 * 6, 2 * 100 / faces_per_second]
    assert (table.gpu_hours * 3600).tolist() == pytest.approx([*seconds, sum(seconds)])
    assert table.loc["train teacher", "8 GPUs, ideal"] == pytest.approx(1 / 8)
    assert table.loc["train teacher", "2 × 8 GPUs, 70%"] == pytest.approx(1 / 16 / 0.7)
    assert table.loc["evaluate", "8 GPUs, 70%"] == pytest.approx(100 / faces_per_second / 3600)


def test_disk_by_hand(parts):
    disk = cost_table(parts, Faces(1000, 10), Faces(100)).set_index("stage").disk_gib * GIB
    teacher, student = (cost.cost_of(network) for network in networks_of(parts))
    assert (teacher.size, student.size) == (SIZE, 16)
    assert disk["align"] == 1000 * BYTES_PER_FACE
    assert disk["embed"] == 1000 * 2 * SIZE * 4
    assert disk["evaluate"] == 2 * 100 * 2 * SIZE * 4
    # The result, and two checkpoints with weights and momentum each, of network and class centers.
    assert disk["train teacher"] == pytest.approx(5 * 4 * (teacher.parameters + 10 * SIZE))
    assert disk["train student"] == pytest.approx(2 * 5 * 4 * (student.parameters + 10 * 16))
    assert disk["distill"] == pytest.approx(3 * 5 * 4 * student.parameters)
    assert disk["total"] == pytest.approx(disk.drop("total").sum())


def networks_of(parts):
    return [parts.study.trainings[name].network for name in ("teacher", "student")]


@pytest.mark.parametrize(
    ("execution", "teacher", "student"),
    [
        ({"precision": "fp32"}, 1917, 5118),
        ({"precision": "bf16"}, 2957, 5900),
        ({"precision": "bf16", "compile": True}, 4200, 5900),
        ({"precision": "fp16"}, 2957, 5900),
    ],
)
def test_throughput_follows_precision_and_has_a_limit(parts, execution, teacher, student):
    estimate = Estimate(execution, 10)
    assert [estimate.training_rate(network) for network in networks_of(parts)] == [teacher, student]
    assert [estimate.forward_rate(network) for network in networks_of(parts)] == [3 * 1917 / 2, 5118]


def test_other_networks_are_as_fast_as_their_flops_say(parts):
    deep = {"architecture": "iresnet", "depth": 50}
    estimate = Estimate(parts.study.execution, 10)
    flops = [cost.cost_of(network).flops for network in (cost.MEASURED_NETWORK, deep)]
    assert flops[0] > 1.5 * flops[1]
    assert estimate.training_rate(deep) == pytest.approx(1917 * flops[0] / flops[1])


def test_jobs_that_are_not_divided_take_as_long_as_the_longest():
    work = Work("evaluate", 0, [3600.0, 1800.0, 1800.0], False, 0)
    assert [wall_hours(work, gpus)[1] for gpus in (1, 2, 8)] == [2, 1, 1]


def test_unknown_numbers_of_faces_are_said(parts, tmp_path, caplog):
    with caplog.at_level("INFO"):
        write_cost(parts, "mine", str(tmp_path / "cost.csv"))
    table = cost_table(parts, Faces(), Faces()).set_index("stage")
    assert table.loc[["align", "embed"], "for"].tolist() == ["for each million faces"] * 2
    assert table.loc["evaluate", "for"] == "for each million test faces"
    trainings = table.loc[["train teacher", "train student", "distill"]]
    assert table.loc["total", "gpu_hours"] == pytest.approx(trainings.gpu_hours.sum())
    for line in (
        "total without those for each million",
        "its number of faces is unknown",
        "85,000 identities (unknown",
        "the number of test faces is unknown",
    ):
        assert line in caplog.text
    assert (tmp_path / "cost.csv").read_text().startswith("stage,for,images,gpu_hours,1 GPU,")


def test_faces_are_counted_in_the_pack_and_then_in_the_store(parts, tmp_path, caplog):
    assert cost.count_training_faces(parts) == Faces()
    rows = make_faces(3, 4)
    (tmp_path / "pack").mkdir()
    insightface.write_training_pack(tmp_path / "pack", ((row.label, row.image) for row in rows))
    assert cost.count_training_faces(parts) == Faces(12, 3)
    store.write(tmp_path / "store.arrow", rows[:8], {})
    assert cost.count_training_faces(parts) == Faces(8, 2)
    assert cost.count_test_faces(parts) == Faces(8)
    with caplog.at_level("INFO"):
        write_cost(parts, "mine", str(tmp_path / "cost.csv"))
    assert "8 faces in the training data" in caplog.text
    assert "at most 8 test faces" in caplog.text
    assert "unknown" not in caplog.text


def test_test_faces_are_unknown_unless_all_of_them_are_known(parts, tmp_path):
    rows = make_faces(2, 4)
    insightface.write_verification_pack(tmp_path / "lfw.bin", [row.image for row in rows], [True, False, True, False])
    found = dict(parts.study.datasets) | {
        "lfw": {"source": "insightface_verification", "path": str(tmp_path / "lfw.bin")},
        "other": {"source": "insightface_verification", "path": str(tmp_path / "other.bin")},
    }
    stores = {name: str(tmp_path / f"{name}.arrow") for name in found}
    for names, expected in ((["lfw"], 8), (["lfw", "other"], None)):
        benchmarks = {name: BenchmarkParts(name, [], {}) for name in names}
        study = dataclasses.replace(parts.study, datasets=found, benchmarks=benchmarks)
        assert cost.count_test_faces(dataclasses.replace(parts, study=study, stores=stores)).faces == expected


def test_a_study_for_cpus_is_said_to_be_estimated_for_a_gpu(parts):
    study = dataclasses.replace(parts.study, execution={"device": "cpu", "precision": "fp16"})
    lines = "\n".join(cost.assumptions(dataclasses.replace(parts, study=study), Faces(), Faces()))
    assert "the study says device: cpu" in lines
    assert "fp16, which has not been measured, is as fast as bf16" in lines
