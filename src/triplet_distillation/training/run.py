"""One training from files to files: what a train or a distill job does."""

import contextlib
import logging
import os
from pathlib import Path

import pandas as pd
import torch

from triplet_distillation import registry
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_json, read_table, write_table
from triplet_distillation.logs import summary
from triplet_distillation.losses import Given
from triplet_distillation.networks import weights
from triplet_distillation.networks.execution import prepare
from triplet_distillation.provenance import digest, file_digest
from triplet_distillation.training import checkpoint, engine, guards, processes, sampling
from triplet_distillation.training.batches import Batches

log = logging.getLogger(__name__)
NO_PART_OF_CHECKPOINTS = {"processes", "nodes", "checkpoint_every", "loader_workers"}
"""Settings that may change between a killed run and the one that goes on from its checkpoint."""


def train_model(
    name: str,
    store: str,
    training_set: str,
    settings: dict,
    seed: int,
    code: str,
    output_weights: str,
    output_history: str,
    initial: str | None = None,
    teacher: dict | None = None,
    margins: str | None = None,
) -> None:
    """Train one network by one method and write its weights and history.

    Where ``settings["execution"]`` asks for several processes, they are started here.

    Args:
        name: of the model, for the metadata and the summary.
        store: path of the face store.
        training_set: path of the table ``row, label``.
        settings: ``network, loss, loss_settings, training, execution, study``.
        seed: decides the first weights, the batches and every other random choice.
        code: version of the code, part of the digest that a checkpoint must match.
        output_weights: safetensors.
        output_history: Parquet, one row a step.
        initial: weights to start from; None starts from random ones.
        teacher: for methods that need it, paths of its ``weights``, of its ``embeddings``
            [faces in store, 2, D] and of their ``sidecar``.
        margins: path of the calibration, for methods that need it.

    Raises:
        TrainingError: training cannot go on, or is not worth it (:mod:`.guards`).
    """
    arguments = dict(locals())
    folder = Path(output_weights).parent / "checkpoint"
    if processes.wanted(settings["execution"]):
        processes.launch(arguments, settings["execution"], folder)
        history = read_table(output_history)
    else:
        first = int(os.environ.get("RANK", 0)) == 0
        with checkpoint.locked(folder) if first else contextlib.nullcontext():
            history = _train(**arguments, folder=folder)
    summary(f"{name}, seed {seed}: {len(history)} steps, last loss {history.loss.iloc[-1]:.4f}")


def _train(
    name, store, training_set, settings, seed, code, output_weights, output_history, initial, teacher, margins, folder
) -> pd.DataFrame:
    """:func:`train_model` in this process, which may be one of several; gives the history."""
    device = prepare(settings["execution"])
    faces = read_table(training_set)
    labels = faces.label.to_numpy()
    guards.check_classes(labels, training_set)
    if teacher:
        _check_teacher(teacher, store)
    files = [training_set, initial, margins, teacher and teacher["embeddings"]]
    belongs_to = digest(
        {
            "settings": _without(settings, NO_PART_OF_CHECKPOINTS),
            "seed": seed,
            "code": code,
            "files": [file_digest(path) for path in files if path],
            "store": [FaceStore(store).metadata, Path(store).stat().st_size],
        }
    )
    torch.manual_seed(seed)
    network = weights.load(initial)[0] if initial else weights.create(settings["network"])
    calibrated = read_json(margins) if margins else {}
    given = Given(
        classes=int(labels.max()) + 1,
        embedding_size=network.embedding_size,
        minimum_margin=calibrated.get("minimum_margin"),
        maximum_margin=calibrated.get("maximum_margin"),
    )
    loss = registry.load("losses", settings["loss"])(given, **settings["loss_settings"])
    sampler = sampling.sampler(settings["training"]["sampling"], labels, seed)
    training = _with_scaled_rate(settings["training"], sampler.batch_size)
    log.info("%s, seed %d: %d faces of %d people, %s", name, seed, len(faces), given.classes, settings)
    with processes.joined(device) as among:
        share = among.share(sampler.batch_size)
        rows, embeddings = faces.row.to_numpy(), teacher and teacher["embeddings"]
        batches = Batches(store, rows, labels, sampler, training, seed, share, embeddings)
        steps = engine.train(
            network, loss, batches, training, settings["execution"], seed, device, folder, belongs_to, among
        )
        history = pd.DataFrame(steps)
        if among.rank == 0:
            provenance = {"study": settings["study"], "model": name, "seed": seed, "digest": belongs_to}
            weights.save(output_weights, network, settings["network"], provenance)
            write_table(output_history, history)
    return history


def _check_teacher(teacher: dict, store: str) -> None:
    faces = FaceStore(store)
    guards.check_teacher_embeddings(
        read_json(teacher["sidecar"]),
        faces.metadata,
        len(faces),
        file_digest(teacher["weights"]),
        teacher["embeddings"],
    )


def _with_scaled_rate(training: dict, batch_size: int) -> dict:
    """``training`` with its learning rate for ``batch_size`` images, where it is given for ``reference_batch``."""
    reference = training["reference_batch"]
    if not reference:
        return training
    return training | {"learning_rate": training["learning_rate"] * batch_size / reference}


def _without(settings, names: set[str]):
    """Nested ``settings`` without the keys ``names``."""
    if not isinstance(settings, dict):
        return settings
    return {key: _without(value, names) for key, value in settings.items() if key not in names}
