"""What is watched in a training, so that hours are not spent on one that learns nothing.

Everything is read off the history, so that a training that goes on from a checkpoint is
judged as an undisturbed one.
"""

import contextlib
import copy
import logging
import math
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import nn

from triplet_distillation.networks.weights import normalise_pixels
from triplet_distillation.training.batches import Batch

log = logging.getLogger(__name__)
PATIENCE = 20
"""Steps that something must last before it counts."""
COLLAPSED = 0.9999
"""Mean cosine of a batch's pairs from which all faces have the same embedding."""
BLOWN_UP = 3.0
"""How many times its first value a loss may reach."""
CGROUPS = Path("/sys/fs/cgroup")


class TrainingError(RuntimeError):
    """Training cannot go on, or is not worth it; the message says what to change."""


def check_history(history: list[dict]) -> None:
    """Look at the last steps of a history, one dict a step.

    Raises:
        TrainingError: the loss is not finite, the embeddings have collapsed, or the loss
            has blown up. Triplets none of which is active are only logged: the report
            says so, too.
    """
    last, recent = history[-1], history[-PATIENCE:]
    rate = last["learning_rate"]
    if not math.isfinite(last["loss"]):
        raise TrainingError(
            f"the loss is {last['loss']} at step {last['step']}, learning rate {rate:g}: lower learning_rate, "
            "lengthen warmup or set clip_norm, then run again"
        )
    if len(recent) < PATIENCE:
        return
    if all(step["mean_cosine"] > COLLAPSED for step in recent):
        raise TrainingError(
            f"the embeddings have collapsed: for {PATIENCE} steps up to step {last['step']} all faces had the same "
            f"one, and the loss sits at {last['loss']:.4f} (a triplet loss then sits at its margin): lower "
            "learning_rate, start from trained weights, or choose another selection of triplets"
        )
    first, now = (float(np.mean([step["loss"] for step in part])) for part in (history[:PATIENCE], recent))
    if len(history) >= 2 * PATIENCE and now > BLOWN_UP * first and now > first + 1:
        raise TrainingError(
            f"the loss has risen from {first:.3f} to {now:.3f} by step {last['step']}, learning rate {rate:g}: lower "
            "learning_rate (reference_batch makes it follow the batch size), lengthen warmup or set clip_norm"
        )
    if len(history) % PATIENCE == 0 and all(step.get("active") == 0 for step in recent):
        log.warning("no triplet was active in the last %d steps: this stage has nothing left to learn", PATIENCE)


def check_memory(network: nn.Module, loss: nn.Module, batch: Batch, device: torch.device) -> None:
    """Estimate what training will need, before its first step.

    Raises:
        TrainingError: it is more than is free; the message has both numbers.
    """
    needed, free = estimated_memory(network, loss, batch), free_memory(device)
    log.info("memory: about %.2f GiB needed, %.2f GiB free", needed / 2**30, free / 2**30)
    if needed > free:
        raise TrainingError(
            f"a batch of {len(batch.labels)} images needs about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB "
            f"are free on {device}: lower sampling.batch_size (or identities and images), train in more processes, or "
            "have arcface sample its classes (sampled)"
        )


def estimated_memory(network: nn.Module, loss: nn.Module, batch: Batch) -> int:
    """Bytes of weights, gradients and momentum, and of what is kept for the backward pass of ``batch``.

    The last is measured on a copy, with two images and with four, and grows with each further image alike.
    """
    parameters = sum(p.numel() * p.element_size() for p in [*network.parameters(), *loss.parameters()])
    two, four = (_kept_for_backward(network, loss, batch, images) for images in (2, 4))
    return 3 * parameters + two + (four - two) // 2 * (len(batch.images) - 2)


def _kept_for_backward(network: nn.Module, loss: nn.Module, batch: Batch, images: int) -> int:
    network, loss = copy.deepcopy(network).cpu().train(), copy.deepcopy(loss).cpu().train()
    own = {p.untyped_storage().data_ptr() for p in [*network.parameters(), *loss.parameters()]}
    kept = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    teacher = None if batch.teacher is None else batch.teacher[:images]
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        embeddings = network(normalise_pixels(batch.images[:images]))
        value, _ = loss(embeddings, batch.labels[:images], teacher, torch.Generator().manual_seed(0))
    assert value.ndim == 0  # and the graph lives until here, so that no storage is counted under another's address
    return sum(size for pointer, size in kept.items() if pointer not in own)


def free_memory(device: torch.device) -> int:
    """Free bytes of ``device``; of the CPU, no more than the control groups that this process is in may still take
    (containers, clusters)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([psutil.virtual_memory().available, *_left_in(_control_groups())])


def _control_groups() -> list[Path]:
    """This process's control group and those that it lies in; none where there are no such (version 2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    return [] if own is None else [CGROUPS / own, *(CGROUPS / parent for parent in Path(own).parents)]


def _left_in(groups: list[Path]) -> list[int]:
    """Bytes that each group with a limit may still take."""
    left = []
    for group in groups:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
            left.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return left


def check_classes(labels: np.ndarray, training_set: str) -> None:
    """Labels [N] must be 0 … classes − 1, each with an image.

    Raises:
        TrainingError: a class without images.
    """
    missing = np.flatnonzero(np.bincount(labels) == 0)
    if len(missing):
        raise TrainingError(
            f"{training_set}: {len(missing)} classes have no image (the first is {missing[0]}): delete the file and "
            "run again, so that the training set is made anew"
        )


def check_teacher_embeddings(sidecar: dict, store_metadata: dict, faces: int, teacher: str, path: str) -> None:
    """A teacher's embeddings must be of this store's faces, by this teacher.

    Args:
        sidecar: as :mod:`triplet_distillation.evaluation.teacher_cache` writes it.
        store_metadata, faces: of the store that is trained on.
        teacher: digest of the teacher's weights file.
        path: of the embeddings, for the message.

    Raises:
        TrainingError: they are another data set's or another teacher's, or not normalised.
    """
    problems = {
        "another data set's": sidecar["store"] != store_metadata or sidecar["shape"][0] != faces,
        "another teacher's": sidecar["teacher"]["weights"] != teacher,
        "not normalised": not sidecar["normalised"],
    }
    wrong = [problem for problem, there in problems.items() if there]
    if wrong:
        raise TrainingError(
            f"{path} does not fit: its embeddings are {' and '.join(wrong)}; delete it and run again, so that it is "
            "made anew"
        )
