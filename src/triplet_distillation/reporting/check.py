"""A study looked through before it runs: everything that would stop it, in one list."""

import contextlib
import shutil
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from triplet_distillation import registry
from triplet_distillation.faces import pairs, store
from triplet_distillation.faces.acquire import open_source
from triplet_distillation.faces.align import count_reasons, face_problem
from triplet_distillation.faces.images import read_image
from triplet_distillation.faces.sources import Downloads, Source, SourceImage
from triplet_distillation.faces.sources.folder import in_words
from triplet_distillation.faces.split import (
    DatasetFiles,
    Protocol,
    RequiredPairs,
    identities_in,
    make_pairs,
    tested_identities,
)
from triplet_distillation.logs import progress, summary
from triplet_distillation.losses import Loss, Step
from triplet_distillation.networks import weights
from triplet_distillation.networks.execution import setup_device
from triplet_distillation.settings import ExecutionSettings, MethodFiles, TrainingSettings
from triplet_distillation.tabular import read_users_table
from triplet_distillation.training import guards, sampling
from triplet_distillation.training.batches import Batch
from triplet_distillation.training.engine import PRECISIONS
from triplet_distillation.training.loss_files import loss_context

DECODED, EVERY = 2000, 100
"""Images of a data set that are decoded: the first ones, and one of so many that follow. All are listed."""
BYTES_PER_FACE = 30_000
"""Of an aligned face as PNG, on average a little less."""
CHECKPOINTS = 5
"""Copies of a network that a training leaves: the result, and two checkpoints with weights and momentum each."""
EMBEDDING_SIZE = 512
"""Of a teacher, at most, as a rule."""
GIB = 2**30
WORK = ".check"
"""How the name of the folder starts in which a check works."""


class StudyError(ValueError):
    """The study would stop; the message lists all reasons."""


class BenchmarkParts(NamedTuple):
    """``dataset``: its name; ``protocols``: how pairs are made, for every round; ``required``: by the metric."""

    dataset: str
    protocols: list[dict[str, Any]]
    required: dict[str, Any]


class TrainingParts(NamedTuple):
    """``network``; ``loss`` with ``loss_settings``; ``training``; ``independent``: whether the loss requires nothing
    that is made before; ``runs``: how often it is trained."""

    network: dict[str, Any]
    loss: str
    loss_settings: dict[str, Any]
    training: dict[str, Any]
    independent: bool
    runs: int


@dataclass(frozen=True)
class StudyParts:
    """What a study is made of; parts of the checked configuration, by name.

    Attributes:
        datasets: sources with their settings.
        downloads: ``folder`` and ``mirror``.
        benchmarks: all of them.
        training_data: name of the data set that is trained on.
        minimum_images: identities with fewer are left out.
        held_out: benchmarks whose people nobody may be trained on.
        trainings: all of them, by model.
        weights: model to its network's settings and the path of its weights, of those that come with them.
        scores: model to the path of its scores.
        execution: where networks run.
        embedding_models: number of models and snapshots that embed all faces.
    """

    datasets: dict[str, dict[str, Any]]
    downloads: dict[str, Any]
    benchmarks: dict[str, BenchmarkParts]
    training_data: str
    minimum_images: int
    held_out: list[str]
    trainings: dict[str, TrainingParts]
    weights: dict[str, tuple[dict[str, Any], str]]
    scores: dict[str, str]
    execution: dict[str, Any]
    embedding_models: int

    @classmethod
    def from_dict(cls, parts: dict[str, Any]) -> "StudyParts":
        """From plain data, as rules pass it."""
        nested: dict[str, Any] = {
            "benchmarks": {name: BenchmarkParts(**each) for name, each in parts["benchmarks"].items()},
            "trainings": {name: TrainingParts(**each) for name, each in parts["trainings"].items()},
        }
        return cls(**parts | nested)


@dataclass
class Found:
    """``problems``, each with what has it, would stop the study; ``notes`` say what the study has."""

    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def problem_of(self, what: str) -> Generator[None]:
        """Whatever the block raises is a problem of ``what``."""
        try:
            yield
        except (ValueError, OSError, RuntimeError) as error:
            missing = isinstance(error, FileNotFoundError) and error.filename
            problem = f"{missing!r} does not exist: correct its path in the configuration" if missing else str(error)
            self.problems.setdefault(problem, []).append(what)


def check_study(study: StudyParts, folder: str) -> None:
    """Look through data and models of a study: show what is noteworthy, and raise everything that would stop it.

    Images are acquired as the study would do it, and removed again, except downloads. Nothing is aligned or trained.

    Args:
        study: its parts.
        folder: of its results; images are below it for a while.

    Raises:
        StudyError: something would stop the study.
    """
    found = Found()
    Path(folder).mkdir(parents=True, exist_ok=True)
    for leftover in Path(folder).glob(f"{WORK}*"):  # of a check that was killed
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=WORK, dir=folder) as work:
        datasets = _check_datasets(study, Path(work), found)
        labels = _check_split(study, datasets, found)
        with found.problem_of("execution"):
            setup_device(ExecutionSettings(**study.execution))
        for model, (network, path) in study.weights.items():
            with found.problem_of(model):
                weights.import_weights(model, network, path, f"{work}/weights.safetensors")
        for model, path in study.scores.items():
            with found.problem_of(model):
                read_users_table(path, ("pair", "score"))
        sizes = {name: _check_training(name, each, labels, study, found) for name, each in study.trainings.items()}
        faces = len(store.FaceStore(datasets[study.training_data].store)) if study.training_data in datasets else 0
    _check_disk(study, faces, sum(sizes.values()), Path(folder), found)
    for note in found.notes:
        summary(note)
    if found.problems:
        number = len(found.problems)
        listed = "\n  ".join(f"{', '.join(dict.fromkeys(what))}: {problem}" for problem, what in found.problems.items())
        raise StudyError(f"{number} problem{'s' * (number > 1)} would stop this study:\n  {listed}")
    summary("nothing was found that would stop this study")


def _check_datasets(study: StudyParts, work: Path, found: Found) -> dict[str, DatasetFiles]:
    """The data sets that can be acquired, each with the store that it would have if a face were found everywhere."""
    datasets = {}
    downloads = Downloads(Path(study.downloads["folder"]), study.downloads["mirror"] or None)
    for name, settings in study.datasets.items():
        with found.problem_of(f"datasets.{name}"):
            source, folder, path = open_source(settings), work / name, work / f"{name}.arrow"
            folder.mkdir()
            images = source.acquire(folder, downloads)
            unreadable: list[tuple[str, str]] = []
            rows = _expected_rows(source, images, folder, unreadable)
            if not store.write(path, progress(rows, f"read {name}", "image"), {}, may_be_empty=True):
                reasons = count_reasons([problem for _, problem in unreadable])
                raise ValueError(f"none of its {len(unreadable)} images can be used: {reasons or 'there are none'}")
            found.notes.append(f"datasets.{name}: {_description(store.FaceStore(path), source, unreadable)}")
            datasets[name] = DatasetFiles(str(path), str(folder))
    return datasets


def _expected_rows(
    source: Source, images: list[SourceImage], folder: Path, unreadable: list[tuple[str, str]]
) -> Iterator[store.StoreRow]:
    """A row for every image that can be read, of those that are tried; the others are named in ``unreadable``."""
    if source.aligned:
        listed = ((face.name, face.identity, face.content) for face in source.faces(folder))
    else:  # its name stands for what is in the image, which alignment will store
        listed = ((image.path, image.identity, image.path.encode()) for image in images)
    labels: dict[str, int] = {}
    for number, (name, identity, content) in enumerate(listed):
        problem = ""
        if number < DECODED or number % EVERY == 0:
            problem = face_problem(content) if source.aligned else _image_problem(folder / name)
        if problem:
            unreadable.append((name, problem))
            continue
        label = labels.setdefault(identity, len(labels))
        yield store.StoreRow(content, label, identity, name, np.zeros(10, np.float32), 1.0, store.ONE_FACE)


def _image_problem(path: Path) -> str:
    """Why an image cannot be read; empty if it can."""
    try:
        read_image(path)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _description(faces: store.FaceStore, source: Source, unreadable: list[tuple[str, str]]) -> str:
    """A data set in one line, with what is unusual about it."""
    counts = np.bincount(faces.column("label"))
    parts = [f"{len(faces)} images"]
    if source.knows_identities:
        parts.append(f"{len(counts)} identities with {counts.min()} to {counts.max()} images")
        alone = int((counts == 1).sum())
        parts += [f"{alone} of them have only one"] * bool(alone)
    if unreadable:
        parts.append(f"{len(unreadable)} could not be read, the first is {': '.join(unreadable[0])}")
    passed_over = in_words(getattr(source, "passed_over", {}))
    parts += [f"passed over: {passed_over}"] * bool(passed_over)
    return "; ".join(parts)


def _check_split(study: StudyParts, datasets: dict[str, DatasetFiles], found: Found) -> np.ndarray | None:
    """The pairs of every benchmark and round; returns the labels of the smallest training set, if there is one."""
    rounds = max((len(benchmark.protocols) for benchmark in study.benchmarks.values()), default=1)
    tested: list[set[str]] = [set() for _ in range(rounds)]
    for name, benchmark in study.benchmarks.items():
        if benchmark.dataset not in datasets:
            continue  # the data set's own problem has been found
        for number in range(rounds):
            protocol = Protocol(**benchmark.protocols[number % len(benchmark.protocols)])
            dataset, source = datasets[benchmark.dataset], study.datasets[benchmark.dataset]
            with found.problem_of(f"benchmarks.{name}"):
                table, _ = make_pairs(dataset, source, protocol, RequiredPairs(**benchmark.required))
                if name in study.held_out:
                    tested[number] |= tested_identities(dataset, source, protocol)
                if number == 0:
                    found.notes.append(f"benchmarks.{name}: {len(table)} pairs in {table.fold.nunique()} folds")
    if study.training_data not in datasets:
        return None
    identities = identities_in(store.FaceStore(datasets[study.training_data].store))
    usable, smallest = np.ones(len(identities.codes), bool), None
    for held_out in tested:
        with found.problem_of("training_data"):
            labels = pairs.training_set(identities, usable, held_out, study.minimum_images).label.to_numpy()
            smallest = labels if smallest is None or len(labels) < len(smallest) else smallest
    if smallest is not None:
        found.notes.append(f"training set: {len(smallest)} images of {smallest.max() + 1} identities")
    return smallest


class _NoLoss(Loss):
    """Stands for a loss that requires what is not made yet, where the network's memory is estimated."""

    def forward(self, embeddings: torch.Tensor, step: Step) -> tuple[torch.Tensor, dict]:
        return embeddings.sum(), {}


def _check_training(
    model: str, parts: TrainingParts, labels: np.ndarray | None, study: StudyParts, found: Found
) -> int:
    """Whether there are enough identities for the batches, and memory for a step; returns bytes of all its files."""
    with found.problem_of(model):
        network, training = weights.create(parts.network), TrainingSettings.from_dict(parts.training)
        size = 4 * sum(parameter.numel() for parameter in network.parameters())
        if labels is None:
            return size * CHECKPOINTS * parts.runs
        sampling.create_sampler(training.sampling, labels, 0).batch(0)
        criterion: Loss = _NoLoss()
        if parts.independent:
            context = loss_context(MethodFiles(), labels.max() + 1, network.embedding_size, training.iterations)
            criterion = registry.load("losses", parts.loss)(context, **parts.loss_settings)
        execution = ExecutionSettings(**study.execution)
        number = training.sampling.global_batch_size
        images = torch.zeros(number // execution.world_size, 3, 112, 112, dtype=torch.uint8)
        batch = Batch(images, torch.arange(number) % (labels.max() + 1))
        machine = guards.Machine.of(execution, torch.device(execution.device))
        guards.check_memory(network, criterion, batch, machine, PRECISIONS[execution.precision])
        return size * CHECKPOINTS * parts.runs
    return 0


def _check_disk(study: StudyParts, faces: int, models: int, folder: Path, found: Found) -> None:
    """Whether the disk has room for the training data's aligned faces, their embeddings, and all models."""
    embeddings = study.embedding_models * faces * 2 * 4 * EMBEDDING_SIZE
    needed, free = faces * BYTES_PER_FACE + embeddings + models, shutil.disk_usage(folder).free
    text = f"about {needed / GIB:.1f} GiB needed, {free / GIB:.1f} GiB free at {folder.resolve()}"
    found.notes.append(f"disk: {text}")
    if needed > free:
        found.problems[f"{text}: make room, or link {folder} to another disk"] = ["disk"]
