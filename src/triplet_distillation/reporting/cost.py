"""What a study costs on GPUs: hours, wall time and disk of every stage, estimated before anything is acquired."""

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from triplet_distillation import registry
from triplet_distillation.faces.insightface import PACK_FILES, TrainingPack, read_verification_pack
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.logs import summary
from triplet_distillation.networks import weights
from triplet_distillation.networks.profile import network_cost
from triplet_distillation.reporting.check import BYTES_PER_FACE, CHECKPOINTS, GIB, StudyParts, TrainingParts
from triplet_distillation.settings import TrainingSettings
from triplet_distillation.tabular import write_table

GPU = "NVIDIA H200, PyTorch 2.11, benchmarks/gpu.py"
"""Where the throughput was measured."""
MEASURED_NETWORK = {"architecture": "iresnet", "depth": 100}
IMAGES_PER_SECOND = {("fp32", False): 1917, ("fp32", True): 2050, ("bf16", False): 2957, ("bf16", True): 4200}
"""Of :data:`MEASURED_NETWORK`, trained with ArcFace and batches of 480 images; by precision, and whether compiled."""
STUDENT_LIMIT = {"fp32": 5118, "bf16": 5900}
"""Images per second that one process trains on at most, however small its network is: those of triplet distillation
with the slim student, which wait for eight loader workers and for kernels to be launched."""
BACKWARD = 2
"""FLOPs of the backward pass, in forward passes."""
SETUPS = {"1 GPU": 1, "8 GPUs": 8, "2 × 8 GPUs": 16}
EFFICIENCY = 0.7
"""Of several GPUs, if they are not ideal: not measured."""
MILLION = 1_000_000
IDENTITIES = 85_000
"""Of MS1M-IBUG: what is assumed where the number is unknown."""


@dataclass(frozen=True)
class CostParts:
    """What the cost of a study follows from.

    Attributes:
        study: as ``check`` takes it.
        embedded: the network of every model and snapshot that embeds all faces.
        evaluated: the network of every model that is evaluated, once for each of its runs.
        stores: data set to the path of its face store, whether or not it exists.
    """

    study: StudyParts
    embedded: list[dict[str, Any]]
    evaluated: list[dict[str, Any]]
    stores: dict[str, str]


class Faces(NamedTuple):
    """How many there are; None where nobody knows yet."""

    faces: int | None = None
    identities: int | None = None


class NetworkCost(NamedTuple):
    """``flops`` of one forward pass of an image, ``parameters``, and the ``size`` of an embedding."""

    flops: int
    parameters: int
    size: int


class Work(NamedTuple):
    """What a stage does on one GPU.

    Attributes:
        stage: its name.
        images: that pass through its networks.
        jobs: seconds of each.
        divided: whether a job may be divided over all GPUs; otherwise, each has one.
        disk: bytes that it leaves.
        unit: what all of this is for; empty if it is for the whole study.
    """

    stage: str
    images: int
    jobs: list[float]
    divided: bool
    disk: float
    unit: str = ""


def write_cost(parts: CostParts, title: str, output: str) -> None:
    """Show what a study costs, with what was assumed, and write the table as CSV.

    Raises:
        OSError, ValueError: a pack or a network that comes with the study cannot be read.
    """
    faces, tested = count_training_faces(parts), count_test_faces(parts)
    table = cost_table(parts, faces, tested)
    write_table(output, table)
    lines = [f"what the study {title} costs, also in {output}:", in_words(table)]
    lines += ["assumed:", *assumptions(parts, faces, tested)]
    summary("\n".join(lines))


def count_training_faces(parts: CostParts) -> Faces:
    """Faces and identities of the data that is trained on, those who are held out included."""
    name = parts.study.training_data
    return _count(parts.study.datasets[name], Path(parts.stores[name]))


def count_test_faces(parts: CostParts) -> Faces:
    """Faces of all data sets that are tested on: at least as many as are tested."""
    names = dict.fromkeys(benchmark.dataset for benchmark in parts.study.benchmarks.values())
    counts = [_count(parts.study.datasets[name], Path(parts.stores[name])).faces for name in names]
    known = [count for count in counts if count is not None]
    return Faces(sum(known) if len(known) == len(counts) else None)


def _count(source: dict[str, Any], store: Path) -> Faces:
    """From the face store, or else from the pack, as far as there is one."""
    if store.is_file():
        faces = FaceStore(store)
        return Faces(len(faces), len(np.unique(faces.column("label"))))
    count = COUNTED.get(source["source"])
    return count(Path(source["path"])) if count else Faces()


def _count_training_pack(folder: Path) -> Faces:
    if not all((folder / name).is_file() for name in PACK_FILES):
        return Faces()
    pack = TrainingPack(folder)
    return Faces(len(pack.images), len(pack.identities) or None)


def _count_verification_pack(path: Path) -> Faces:
    return Faces(len(read_verification_pack(path)[0])) if path.is_file() else Faces()


COUNTED: dict[str, Callable[[Path], Faces]] = {
    "insightface_training": _count_training_pack,
    "insightface_verification": _count_verification_pack,
}
"""Sources that say how many faces they have before anything is aligned."""


def cost_of(settings: dict[str, Any]) -> NetworkCost:
    """Of a network, by its settings; its operations are counted once."""
    return _cost_of(json.dumps(settings, sort_keys=True))


@functools.cache
def _cost_of(settings: str) -> NetworkCost:
    network = weights.create(json.loads(settings)).eval()
    found = network.cost() if network.pretrained else network_cost(network)
    return NetworkCost(found["flops"], found["parameters"], network.embedding_size)


class Estimate:
    """How long networks take and how much they leave, with a study's ``execution`` and so many ``identities``."""

    def __init__(self, execution: dict[str, Any], identities: int):
        self.precision, self.compiled = measured_execution(execution)
        self.identities = identities
        self._measured = cost_of(MEASURED_NETWORK).flops

    def training_rate(self, settings: dict[str, Any]) -> float:
        """Images per second that one GPU trains on."""
        measured = IMAGES_PER_SECOND[self.precision, self.compiled]
        return min(measured * self._measured / cost_of(settings).flops, STUDENT_LIMIT[self.precision])

    def forward_rate(self, settings: dict[str, Any]) -> float:
        """Faces per second that one GPU embeds, each with its flipped copy; in fp32, as all embeddings are."""
        passes = (1 + BACKWARD) * IMAGES_PER_SECOND["fp32", False] * self._measured / cost_of(settings).flops
        return min(passes / 2, STUDENT_LIMIT["fp32"])

    def train(self, stage: str, trainings: list[TrainingParts]) -> Work:
        """The trainings of a stage."""
        images, disk, jobs = 0, 0.0, []
        for each in trainings:
            training, cost = TrainingSettings.from_dict(each.training), cost_of(each.network)
            passes = training.iterations * training.sampling.global_batch_size
            has_centers = "class_centers" in registry.attribute("losses", each.loss, "provides")
            numbers = cost.parameters + has_centers * self.identities * cost.size
            images += passes * each.runs
            disk += 4 * numbers * CHECKPOINTS * each.runs
            jobs += [passes / self.training_rate(each.network)] * each.runs
        return Work(stage, images, jobs, True, disk)

    def embed(self, stage: str, networks: list[dict[str, Any]], faces: int | None, unit: str) -> Work:
        """Every network embeds all faces, with their flipped copies; for each million ``unit`` if ``faces`` is None."""
        number = MILLION if faces is None else faces
        jobs = [number / self.forward_rate(network) for network in networks]
        disk = sum(2 * 4 * number * cost_of(network).size for network in networks)
        unit = f"for each million {unit}" if faces is None else ""
        return Work(stage, 2 * number * len(networks), jobs, False, disk, unit)


def measured_execution(execution: dict[str, Any]) -> tuple[str, bool]:
    """Precision and compilation whose throughput stands for a study's; fp16 has none of its own, but bf16's."""
    precision = execution.get("precision", "fp32")
    return "bf16" if precision == "fp16" else precision, execution.get("compile", False)


def cost_table(parts: CostParts, faces: Faces, tested: Faces) -> pd.DataFrame:
    """One row per stage, and their total: ``stage, for, images, gpu_hours``, hours of wall time by setup, ``disk_gib``.

    The total leaves out the rows that are for each million of an unknown number of faces.
    """
    estimate = Estimate(parts.study.execution, faces.identities or IDENTITIES)
    stages: dict[str, list[TrainingParts]] = {}
    for name, each in parts.study.trainings.items():
        stages.setdefault("distill" if name.startswith("methods.") else f"train {name}", []).append(each)
    distill = [estimate.train("distill", each) for each in [stages.pop("distill", [])] if each]
    aligned = MILLION if faces.faces is None else faces.faces
    unit = "for each million faces" if faces.faces is None else ""
    work = [
        Work("align", 0, [], False, aligned * BYTES_PER_FACE, unit),
        *(estimate.train(stage, each) for stage, each in stages.items()),
        *([estimate.embed("embed", parts.embedded, faces.faces, "faces")] if parts.embedded else []),
        *distill,
        estimate.embed("evaluate", parts.evaluated, tested.faces, "test faces"),
    ]
    rows = pd.DataFrame([_row(each) for each in work])
    known = rows[rows["for"] == ""].drop(columns=["stage", "for"])
    total = {"stage": "total", "for": "" if len(known) == len(rows) else "without those for each million"}
    return pd.concat([rows, pd.DataFrame([total | known.sum().to_dict()])], ignore_index=True).astype({"images": int})


def _row(work: Work) -> dict[str, Any]:
    row: dict[str, Any] = {"stage": work.stage, "for": work.unit, "images": work.images}
    row["gpu_hours"] = sum(work.jobs) / 3600
    for name, gpus in SETUPS.items():
        ideal, expected = wall_hours(work, gpus)
        row |= {name: ideal} if gpus == 1 else {f"{name}, ideal": ideal, f"{name}, {EFFICIENCY:.0%}": expected}
    return row | {"disk_gib": work.disk / GIB}


def wall_hours(work: Work, gpus: int) -> tuple[float, float]:
    """Hours that a stage takes on so many GPUs: ideally, and if training has an efficiency of :data:`EFFICIENCY`."""
    ideal = sum(work.jobs) / gpus / 3600
    if work.divided:
        return ideal, ideal / (EFFICIENCY if gpus > 1 else 1)
    longest = max(ideal, max(work.jobs, default=0) / 3600)
    return longest, longest


def in_words(table: pd.DataFrame) -> str:
    """The table as plain text, with a range of hours for several GPUs."""
    shown = table[["stage", "for"]].copy()
    shown["images"] = [f"{images / MILLION:,.2f} M" if images else "" for images in table.images]
    shown["GPU hours"] = [_hours(each, each) for each in table.gpu_hours]
    for name, gpus in SETUPS.items():
        columns = [name, name] if gpus == 1 else [f"{name}, ideal", f"{name}, {EFFICIENCY:.0%}"]
        shown[name] = [_hours(*each) for each in table[columns].to_numpy()]
    shown["disk"] = [f"{size:,.1f} GiB" for size in table.disk_gib]
    return shown.to_string(index=False)


def _hours(ideal: float, expected: float) -> str:
    """Hours with two digits, as a range unless they are the same."""
    first, last = (f"{each:,.0f}" if each >= 10 else f"{_two_digits(each):g}" for each in (ideal, expected))
    return "" if not expected else f"{first} h" if first == last else f"{first}-{last} h"


def _two_digits(number: float) -> float:
    return round(number, 1 - math.floor(math.log10(number))) if number else 0


def assumptions(parts: CostParts, faces: Faces, tested: Faces) -> list[str]:
    """What the estimate rests on, a line each."""
    execution = parts.study.execution
    (precision, compiled), asked = measured_execution(execution), execution.get("precision", "fp32")
    rate = f"{IMAGES_PER_SECOND[precision, compiled]:,} images/s in {precision}{', compiled' if compiled else ''}"
    lines = [
        f"one GPU trains IResNet-100 on {rate}, other networks in proportion to their FLOPs (training: 3 × forward), "
        f"but on at most {STUDENT_LIMIT[precision]:,} images/s, where loading and launches are the limit ({GPU})",
        f"embedding is in fp32 and has no backward pass; at most {STUDENT_LIMIT['fp32']:,} faces/s (not measured)",
        f"several GPUs divide every training (execution.processes, nodes), ideally or with an efficiency of "
        f"{EFFICIENCY:.0%}: not measured, and small batches, which launches limit, may do worse",
        "every job of embed and evaluate has one GPU",
        "not counted: acquire and align, which use CPUs; calibration, scores, tables and figures, which are short",
        f"disk: {BYTES_PER_FACE:,} bytes per face; {CHECKPOINTS} copies of weights and class centers per training (the "
        "result, and two checkpoints with momentum)",
    ]
    if asked != precision:
        lines.append(f"{asked}, which has not been measured, is as fast as {precision}")
    if execution.get("device") == "cpu":
        lines.append("a GPU, though the study says device: cpu")
    if faces.faces is None:
        lines.append("the training data is not here, so its number of faces is unknown (MS1M-IBUG: 3.8 million)")
    else:
        lines.append(f"{faces.faces:,} faces in the training data")
    lines.append(f"{faces.identities or IDENTITIES:,} identities{'' if faces.identities else ' (unknown: MS1M-IBUG)'}")
    if tested.faces is None:
        lines.append("the number of test faces is unknown (LFW: 12,000 in its pairs)")
    else:
        lines.append(f"at most {tested.faces:,} test faces")
    return [f"- {line}" for line in lines]
