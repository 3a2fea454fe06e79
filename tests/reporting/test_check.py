"""Looking through a study before it runs: all problems in one list, and no harm done."""

import dataclasses
import shutil

import cv2
import numpy as np
import pytest
import torch

from triplet_distillation.faces import insightface
from triplet_distillation.networks import weights
from triplet_distillation.reporting import check
from triplet_distillation.reporting.check import BenchmarkParts, StudyError, StudyParts, TrainingParts, check_study

NETWORK = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16}
TRAINING = {
    "iterations": 5,
    "learning_rate": 0.1,
    "reference_batch": 0,
    "schedule": "cosine",
    "milestones": [],
    "decay": 0.1,
    "warmup": 0,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "sampling": {"kind": "pk", "p": 3, "k": 2},
    "augmentation": {},
    "checkpoint_every": 5,
    "loader_workers": 0,
}
HELD_OUT = {"held_out": {"identities": 4, "folds": 2, "seed": 0}, "round": (0, 1)}
ACCURACY = {"folds": 2, "impostors": 1}


def png(size=112, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def photos(tmp_path):
    """Eight people with four images each."""
    for person in range(8):
        folder = tmp_path / "photos" / f"person {person}"
        folder.mkdir(parents=True)
        for image in range(4):
            (folder / f"{image}.png").write_bytes(png(64, 10 * person + image))
    return tmp_path / "photos"


@pytest.fixture
def study(photos, tmp_path):
    arcface = {"loss": "arcface", "loss_settings": {"scale": 64.0, "margin": 0.5}}
    triplet = {"loss": "triplet_distillation", "loss_settings": {}}
    training = {"network": NETWORK, "training": TRAINING, "runs": 2}
    return StudyParts(
        datasets={"mine": {"source": "folder", "path": str(photos)}},
        downloads={"folder": str(tmp_path / "downloads"), "mirror": ""},
        benchmarks={"unseen": BenchmarkParts("mine", [HELD_OUT], ACCURACY)},
        training_data="mine",
        minimum_images=1,
        held_out=["unseen"],
        trainings={
            "student": TrainingParts(**training, **arcface, independent=True),
            "methods.distilled": TrainingParts(**training, **triplet, independent=False),
        },
        weights={},
        scores={},
        execution={"threads": 1, "device": "cpu"},
        embedding_models=1,
    )


def problems(study, folder):
    """The lines of the list."""
    with pytest.raises(StudyError) as raised:
        check_study(study, str(folder))
    first, *lines = str(raised.value).splitlines()
    assert first.startswith(f"{len(lines)} problem")
    return [line.strip() for line in lines]


def test_study_that_can_run_passes_and_nothing_is_left_behind(study, tmp_path, caplog):
    before = sorted(tmp_path.rglob("*"))
    with caplog.at_level("INFO"):
        check_study(study, str(tmp_path / "results"))
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "results"])
    assert "datasets.mine: 32 images; 8 identities with 4 to 4 images" in caplog.text
    assert "training set: 16 images of 4 identities" in caplog.text
    assert "nothing was found" in caplog.text


def test_what_a_killed_check_left_is_removed(study, tmp_path):
    (tmp_path / "results/.check1234/mine").mkdir(parents=True)
    (tmp_path / "results/report").mkdir()
    check_study(study, str(tmp_path / "results"))
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["report"]


def test_everything_that_is_wrong_is_in_one_list(study, tmp_path):
    (tmp_path / "scores.csv").write_text("pair,points\n0,1\n")
    (tmp_path / "weights.pt").write_bytes(b"not weights")
    insightface.write_verification_pack(tmp_path / "small.bin", [png(96, n) for n in range(8)], [1, 0, 1, 0])
    network = weights.create(NETWORK)
    network.get_buffer("layers.0.1.running_var")[0] = float("nan")
    torch.save(network.state_dict(), tmp_path / "nan.pt")
    wrong = dataclasses.replace(
        study,
        datasets=study.datasets
        | {
            "gone": {"source": "folder", "path": str(tmp_path / "gone")},
            "pack": {"source": "insightface_verification", "path": str(tmp_path / "small.bin"), "folds": 2},
        },
        benchmarks={
            "unseen": BenchmarkParts(
                "mine", [HELD_OUT | {"held_out": {"identities": 3, "folds": 2, "seed": 0}}], ACCURACY
            ),
            "on gone": BenchmarkParts("gone", [HELD_OUT], ACCURACY),
            "own": BenchmarkParts(
                "mine", [{"pairs": {"file": "no pairs.csv", "folds": []}, "round": (0, 1)}], ACCURACY
            ),
        },
        trainings={
            name: parts._replace(training=TRAINING | {"sampling": {"kind": "pk", "p": 30, "k": 2}})
            for name, parts in study.trainings.items()
        },
        weights={"teacher": (NETWORK, str(tmp_path / "weights.pt")), "models/nan": (NETWORK, str(tmp_path / "nan.pt"))},
        scores={"models/scored": str(tmp_path / "scores.csv")},
    )
    found = problems(wrong, tmp_path / "results")
    expected = [
        "datasets.gone: ",
        "datasets.pack: ",
        "benchmarks.unseen: ",
        "benchmarks.own: 'no pairs.csv' does not exist",
        "teacher: ",
        "models/nan: ",
        "models/scored: ",
        "student, methods.distilled: ",
    ]
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected
    assert "96×96" in found[1]
    assert "4 held-out" in found[2]
    assert "NaN" in found[5]
    assert "only 8" in found[7]


def test_images_that_cannot_be_read_are_noted_and_not_counted(study, photos, tmp_path, caplog):
    (photos / "person 3/2.png").write_bytes(b"")
    (photos / "person 4/notes.txt").write_text("x")
    (photos / "loose.png").write_bytes(png())
    shutil.rmtree(photos / "person 5")
    (photos / "person 5").mkdir()
    (photos / "person 5/one.png").write_bytes(png())
    with caplog.at_level("INFO"):
        check_study(study, str(tmp_path / "results"))
    line = next(record.message for record in caplog.records if record.message.startswith("datasets.mine"))
    assert "28 images; 8 identities with 1 to 4 images; 1 of them have only one" in line
    assert "1 could not be read, the first is person 3/2.png: the file is empty" in line
    assert "notes.txt" in line
    assert "loose.png" in line


def test_memory_and_disk_are_compared_with_what_is_free(study, tmp_path, monkeypatch):
    monkeypatch.setattr(check.guards, "free_memory", lambda device: 1000)
    monkeypatch.setattr(check.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    found = problems(study, tmp_path / "results")
    assert [line.partition(": ")[0] for line in found] == ["student, methods.distilled", "disk"]
    assert all("GiB" in line for line in found)


def test_every_round_is_looked_at(study, tmp_path):
    rounds = [HELD_OUT | {"round": (number, 3)} for number in range(3)]
    wrong = dataclasses.replace(study, benchmarks={"unseen": BenchmarkParts("mine", rounds, ACCURACY)})
    (line,) = problems(wrong, tmp_path / "results")
    assert line.startswith("benchmarks.unseen: held_out.identities is 4")


def test_device_that_is_not_there_is_a_problem(study, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    wrong = dataclasses.replace(study, execution={"threads": 1, "device": "cuda"}, trainings={})
    (line,) = problems(wrong, tmp_path / "results")
    assert line.startswith("execution: ")
