"""One training from files to files: what a train or a distill job does."""

import logging
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
from triplet_distillation.training import engine, sampling
from triplet_distillation.training.batches import Batches

log = logging.getLogger(__name__)


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
    teacher_embeddings: str | None = None,
    margins: str | None = None,
) -> None:
    """Train one network by one method and write its weights and history.

    Args:
        name: of the model, for the metadata and the summary.
        store: path of the face store.
        training_set: path of the table ``row, label``.
        settings: ``network, loss, loss_settings, training, execution, study``.
        seed: decides the first weights, the batches and every other random choice.
        code: version of the code, part of the digest that a checkpoint must match.
        output_weights: safetensors.
        output_history: CSV, one row a step.
        initial: weights to start from; None starts from random ones.
        teacher_embeddings: path of [faces in store, 2, D], for methods that need them.
        margins: path of the calibration, for methods that need it.
    """
    device, training = prepare(settings["execution"]), settings["training"]
    faces = read_table(training_set)
    labels = faces.label.to_numpy()
    belongs_to = digest(
        {
            "settings": settings,
            "seed": seed,
            "code": code,
            "files": [file_digest(path) for path in (training_set, initial, teacher_embeddings, margins) if path],
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
    batches = Batches(
        store,
        faces.row.to_numpy(),
        labels,
        sampling.sampler(training["sampling"], labels, seed),
        training["augmentation"],
        seed,
        training["iterations"],
        teacher_embeddings,
    )
    log.info("%s, seed %d: %d faces of %d people, %s", name, seed, len(faces), given.classes, settings)
    folder = Path(output_weights).parent / "checkpoint"
    history = engine.train(network, loss, batches, training, seed, device, folder, belongs_to)
    provenance = {"study": settings["study"], "model": name, "seed": seed, "digest": belongs_to}
    weights.save(output_weights, network, settings["network"], provenance)
    write_table(output_history, pd.DataFrame(history))
    summary(f"{name}, seed {seed}: {len(history)} steps, last loss {history[-1]['loss']:.4f}")
