"""Short training runs on small synthetic faces, for the tests in this folder."""

import numpy as np

from triplet_distillation.faces import pairs
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import write_json
from triplet_distillation.provenance import file_digest
from triplet_distillation.settings import TrainingJob
from triplet_distillation.tabular import read_table, write_table
from triplet_distillation.training import engine
from triplet_distillation.training.job import train_model

NETWORK = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16}
TRAINING = {
    "iterations": 6,
    "learning_rate": 0.05,
    "schedule": "cosine",
    "milestones": [],
    "decay": 0.1,
    "warmup": 1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "clip_norm": 0,
    "sampling": {"kind": "uniform", "batch_size": 10},
    "augmentation": {"flip": True, "shift": 2, "contrast": 0.1, "brightness": 5},
    "reference_batch": 0,
    "checkpoint_every": 2,
    "loader_workers": 0,
}
EXECUTION = {"threads": 1, "device": "cpu"}
GENTLE = {"learning_rate": 0.001, "clip_norm": 0.5}
"""Small steps, so that rounding differences do not grow from step to step."""
P_BY_K = {"kind": "pk", "p": 3, "k": 4}


def run(
    folder,
    store,
    name="student",
    loss="arcface",
    loss_settings=None,
    network=NETWORK,
    training=None,
    execution=None,
    code="1",
    seed=0,
    **inputs,
):
    """Train in ``folder``; returns (weights as bytes, history)."""
    faces = FaceStore(store)
    training_set = folder.parent / "training_set.parquet"
    if not training_set.exists():
        identities = pairs.IdentityColumn(*faces.codes("identity"))
        write_table(training_set, pairs.training_set(identities, np.ones(len(faces), bool), set(), 1))
    job = {
        "name": name,
        "seed": seed,
        "network": network,
        "loss": loss,
        "loss_settings": loss_settings or {},
        "training": TRAINING | (training or {}),
        "execution": EXECUTION | (execution or {}),
        "code": code,
        "store": str(store),
        "training_set": str(training_set),
        "weights": str(folder / "weights.safetensors"),
        "history": str(folder / "history.parquet"),
        "loss_state": str(folder / "loss.safetensors"),
        "timing": str(folder / "timing.json"),
        **inputs,
    }
    train_model(TrainingJob.from_dict(job))
    return (folder / "weights.safetensors").read_bytes(), read_table(folder / "history.parquet")


def sibling_folder(folder, name):
    path = folder.parent / name
    path.mkdir()
    return path


def distill(folder, store, student, **settings):
    """Run the second stage from the weights ``student`` with a synthetic teacher; returns the same as :func:`run`."""
    margins = folder.parent / "margins.json"
    write_json(margins, {"min_margin": 0.2, "max_margin": 0.5, "quantiles": {"1": 1.5}})
    settings["training"] = {"sampling": P_BY_K} | settings.get("training", {})
    return run(
        folder,
        store,
        name="triplet_distillation",
        loss="triplet_distillation",
        initial=str(student),
        required={"teachers": [make_teacher(folder.parent, store, student)], "margins": str(margins)},
        **settings,
    )


def make_teacher(folder, store, weights) -> dict[str, str]:
    """Write random embeddings of a store and their sidecar; ``weights`` serves as the teacher's weights file."""
    faces = FaceStore(store)
    embeddings = np.random.default_rng(0).normal(size=(len(faces), 2, 4)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    np.save(folder / "embeddings.npy", embeddings)
    sidecar = {
        "teacher": {"weights": file_digest(weights)},
        "store": faces.metadata,
        "normalized": True,
        "shape": list(embeddings.shape),
    }
    write_json(folder / "embeddings.json", sidecar)
    paths = {"weights": weights, "embeddings": folder / "embeddings.npy", "sidecar": folder / "embeddings.json"}
    return {name: str(path) for name, path in paths.items()}


def stop_after(monkeypatch, steps):
    """Interrupt the loop, as if killed, when it starts its ``steps``-th step from now."""
    original, count = engine.train_step, iter(range(10**6))

    def step(*arguments):
        if next(count) == steps:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(engine, "train_step", step)
