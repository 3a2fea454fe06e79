"""One training from files to files: what a train or a distill job does."""

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from triplet_distillation import registry
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import locked, read_json, write_json
from triplet_distillation.logs import summary
from triplet_distillation.networks import Network, weights
from triplet_distillation.networks.execution import LAUNCHED, setup_device
from triplet_distillation.provenance import array_digest, digest, file_digest, recorded_digest
from triplet_distillation.settings import TeacherFiles, TrainingJob
from triplet_distillation.tabular import read_table, write_table
from triplet_distillation.training import distributed, engine, guards, loss_files, sampling
from triplet_distillation.training.batches import BatchDataset, TrainingFaces
from triplet_distillation.training.loss_files import loss_context

log = logging.getLogger(__name__)
NON_DIGEST_KEYS = {"processes", "nodes", "keep_memory", "checkpoint_every", "loader_workers"}
"""Settings that may change between a killed run and the one that resumes from its checkpoint."""


def train_model(job: TrainingJob) -> None:
    """Train one network by one method and write its weights and history.

    If the job asks for several processes, they are started here.

    Raises:
        TrainingError: training cannot continue, or is not worth continuing (:mod:`.guards`).
    """
    folder = Path(job.weights).parent / "checkpoint"
    if distributed.needs_launch(job.execution):
        distributed.launch(job, folder)
        history = read_table(job.history)
    else:
        is_main_process = LAUNCHED not in os.environ or os.environ["RANK"] == "0"
        with locked(folder / "lock") if is_main_process else contextlib.nullcontext():
            history = _train(job, folder)
    summary(f"{job.name}, seed {job.seed}: {len(history)} steps, last loss {history.loss.iloc[-1]:.4f}")


def _train(job: TrainingJob, folder: Path) -> pd.DataFrame:
    """:func:`train_model` in this process, which may be one of several; returns the history."""
    device = setup_device(job.execution)
    table = read_table(job.training_set)
    labels = table.label.to_numpy()
    guards.check_labels(labels, job.training_set)
    for teacher in job.required.teachers:
        _check_teacher(teacher, job.store)
    digest_of_training = training_digest(job)
    torch.manual_seed(job.seed)
    network = weights.load(job.initial)[0] if job.initial else weights.create(job.network)
    initial = array_digest({name: tensor.numpy() for name, tensor in network.state_dict().items()})
    iterations = job.training.iterations
    context = loss_context(job.required, int(labels.max()) + 1, network.embedding_size, iterations)
    criterion = registry.load("losses", job.loss)(context, **job.loss_settings)
    missing = [name for name in criterion.provides if name not in criterion.state_dict()]
    if missing:
        raise guards.TrainingError(f"{job.loss} says that it provides {', '.join(missing)}, but has no such parameter")
    sampler = sampling.create_sampler(job.training.sampling, labels, job.seed)
    log.info("%s, seed %d: %d faces of %d identities", job.name, job.seed, len(table), context.num_identities)
    log.info("%s", job)
    with distributed.init_distributed(device) as dist:
        rank_slice = dist.rank_slice(job.training.sampling.global_batch_size)
        teachers = tuple(teacher.embeddings for teacher in job.required.teachers)
        in_turn = "teacher_snapshots" in criterion.requires
        faces = TrainingFaces(job.store, table.row.to_numpy(), labels, teachers, in_turn)
        batches = BatchDataset(faces, sampler, job.training, job.seed, rank_slice)
        provenance = {"seed": job.seed, "digest": digest_of_training, "initial": initial}
        snapshots = _snapshots(job, folder, provenance)
        train_context = engine.TrainContext(
            job.training, job.execution, job.seed, device, dist, folder, digest_of_training, snapshots
        )
        records, seconds = engine.train(network, criterion, batches, train_context)
        history = pd.DataFrame(records)
        if dist.rank == 0:
            weights.save(job.weights, network, job.network, provenance)
            loss_files.write_loss_state(job.loss_state, criterion, provenance)
            for number, output in enumerate(job.snapshots):
                shutil.copyfile(_snapshot_file(folder, number), output)
            write_table(job.history, history)
            write_json(job.timing, {"seconds": seconds})
    return history


def _snapshots(job: TrainingJob, folder: Path, provenance: dict) -> dict[int, Callable[[Network], None]]:
    """What saves the network at equal shares of the training: number of steps to a function.

    They are saved beside the checkpoints and become outputs at the end: outputs of a killed job are deleted.
    """

    def save_as(path: Path) -> Callable[[Network], None]:
        return lambda network: weights.save(path, network, job.network, provenance)

    shares = len(job.snapshots) + 1
    return {
        job.training.iterations * (number + 1) // shares: save_as(_snapshot_file(folder, number))
        for number in range(len(job.snapshots))
    }


def _snapshot_file(folder: Path, number: int) -> Path:
    return folder / f"snapshot{number}.safetensors"


def training_digest(job: TrainingJob) -> str:
    """Digest of everything that the result depends on; a checkpoint must match it."""
    settings = {
        "network": job.network,
        "loss": job.loss,
        "loss_settings": job.loss_settings,
        "training": dataclasses.asdict(job.training),
        "execution": dataclasses.asdict(job.execution),
    }
    teachers = job.required.teachers
    embeddings = {teacher.embeddings for teacher in teachers}
    files = [job.training_set, job.initial, *(path for path in job.required.paths() if path not in embeddings)]
    return digest(
        {
            "settings": _without(settings, NON_DIGEST_KEYS),
            "seed": job.seed,
            "snapshots": len(job.snapshots),
            "code": job.code,
            "files": [file_digest(path) for path in files if path],
            "teachers": [_embeddings_digest(teacher) for teacher in teachers],
            "store": [FaceStore(job.store).metadata, Path(job.store).stat().st_size],
        }
    )


def _embeddings_digest(teacher: TeacherFiles) -> str:
    """SHA-256 of a teacher's embeddings, which may be tens of gigabytes: the job that wrote them has computed it."""
    record = read_json(teacher.sidecar).get("file")
    return recorded_digest(teacher.embeddings, record) if record else file_digest(teacher.embeddings)


def _check_teacher(teacher: TeacherFiles, store: str) -> None:
    faces = FaceStore(store)
    weights_digest = file_digest(teacher.weights)
    guards.check_teacher_embeddings(
        read_json(teacher.sidecar), faces.metadata, len(faces), weights_digest, teacher.embeddings
    )


def _without(settings, names: set[str]):
    """Nested ``settings`` without the keys ``names``."""
    if not isinstance(settings, dict):
        return settings
    return {key: _without(value, names) for key, value in settings.items() if key not in names}
