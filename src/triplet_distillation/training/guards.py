"""Checks during training, so that hours are not wasted on one that learns nothing.

They only look at the history, so that a resumed training is checked like an
uninterrupted one.
"""

import contextlib
import copy
import logging
import math
import numbers
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import nn

from triplet_distillation.embeddings import invalid_embeddings
from triplet_distillation.losses import Loss, Step
from triplet_distillation.networks.finite import invalid_tensors
from triplet_distillation.networks.weights import normalize_pixels
from triplet_distillation.settings import ALWAYS_LOGGED, ExecutionSettings
from triplet_distillation.training.batches import Batch

log = logging.getLogger(__name__)
PATIENCE = 20
"""Number of steps for which a problem must persist before it counts."""
COLLAPSE_COSINE = 0.9999
"""Mean cosine of a batch's pairs above which all faces have the same embedding."""
DIVERGENCE_FACTOR = 3.0
"""Factor by which a loss may exceed its initial value."""
TRANSIENT = {"cpu": 2.2, "cuda": 1.3}
"""Peak memory of a step relative to the tensors saved for the backward pass: measured 1.5 to 2.1 on CPUs, with memory
kept or not. The rest are gradients, workspaces of convolutions, and freed memory that is not reusable."""
CPU = torch.device("cpu")
CGROUPS = Path("/sys/fs/cgroup")


class TrainingError(RuntimeError):
    """Training cannot continue, or is not worth continuing; the message says what to change."""


def check_history(history: list[dict], loss_may_rise: bool = False) -> None:
    """Check the last steps of a history, one dict per step; ``loss_may_rise`` is the method's attribute.

    Raises:
        TrainingError: the loss is not finite, the embeddings have collapsed, or the loss
            has diverged. If no triplet is active, that is only logged: the report says so
            as well.
    """
    last, recent = history[-1], history[-PATIENCE:]
    lr = last["learning_rate"]
    if not math.isfinite(last["loss"]):
        raise TrainingError(
            f"the loss is {last['loss']} at step {last['step']}, learning rate {lr:g}: lower learning_rate, "
            "lengthen warmup or set clip_norm, then run again"
        )
    if len(recent) < PATIENCE:
        return
    if all(step["mean_cosine"] > COLLAPSE_COSINE for step in recent):
        raise TrainingError(
            f"the embeddings have collapsed: for {PATIENCE} steps up to step {last['step']}, all faces had the same "
            f"embedding, and the loss is stuck at {last['loss']:.4f} (a triplet loss then equals its margin): lower "
            "learning_rate, start from trained weights, or choose another mining strategy"
        )
    first, now = (float(np.mean([step["loss"] for step in part])) for part in (history[:PATIENCE], recent))
    if not loss_may_rise and len(history) >= 2 * PATIENCE and now > DIVERGENCE_FACTOR * first and now > first + 1:
        raise TrainingError(
            f"the loss has risen from {first:.3f} to {now:.3f} by step {last['step']}, learning rate {lr:g}: lower "
            "learning_rate (reference_batch scales it with the batch size), lengthen warmup or set clip_norm; a loss "
            "that grows by design sets loss_may_rise"
        )
    if len(history) % PATIENCE == 0 and all(step.get("active") == 0 for step in recent):
        log.warning("no triplet was active in the last %d steps: nothing is left to learn in this stage", PATIENCE)


def check_weights(network: nn.Module, criterion: Loss, last: dict) -> None:
    """Network and loss must be finite, with parameters and buffers; ``last`` is the history's record of the step.

    A GPU is waited for, so it is not called in every step.

    Raises:
        TrainingError: one of them contains NaN or infinity.
    """
    for name, module in (("the network", network), (type(criterion).__name__, criterion)):
        if problem := invalid_tensors(module.state_dict()):
            raise TrainingError(
                f"{name} after step {last['step']}, learning rate {last['learning_rate']:g}: {problem}: lower "
                "learning_rate, lengthen warmup or set clip_norm, then run again"
            )


def check_teachers(embeddings: Sequence[torch.Tensor], paths: Sequence[str], step: int) -> None:
    """Teachers' embeddings [B, D] in the batch of a step, still on the CPU, must be finite and not zero.

    Args:
        paths: of the files that they come from, for the message.

    Raises:
        TrainingError: they are not.
    """
    if any(invalid_embeddings(each.numpy()).any() for each in embeddings):
        raise TrainingError(
            f"step {step}: a teacher's embedding contains NaN or infinity, or is zero: delete {' or '.join(paths)} "
            "and run again; the learning rate is not to blame"
        )


class Machine(NamedTuple):
    """Where a training runs: ``device``, and the number of ``processes`` that share its memory."""

    device: torch.device = CPU
    processes: int = 1

    @classmethod
    def of(cls, execution: ExecutionSettings, device: torch.device) -> "Machine":
        """Several processes of one machine share its main memory; of GPUs, each has its own."""
        return cls(device, execution.processes if device.type == "cpu" else 1)


def check_memory(network: nn.Module, criterion: Loss, batch: Batch, machine: Machine, precision: torch.dtype) -> None:
    """Estimate the memory that training will need, before its first step.

    ``network`` and ``criterion`` are still on the CPU, without layers for several processes;
    ``precision`` is the one in which the network computes.

    Raises:
        TrainingError: it is more than is free; the message has both numbers.
    """
    device, processes = machine
    needed = processes * estimated_memory(network, criterion, batch, device, precision)
    free = free_memory(device)
    log.info("memory: about %.2f GiB needed, %.2f GiB free", needed / 2**30, free / 2**30)
    if needed > free:
        together = f" in {processes} processes together" if processes > 1 else ""
        raise TrainingError(
            f"a batch of {len(batch.labels)} images needs about {needed / 2**30:.1f} GiB{together}, but only "
            f"{free / 2**30:.1f} GiB are free on {device}: lower sampling.batch_size (or p and k), "
            f"{'train in fewer processes' if processes > 1 else 'train in more processes'}, or sample arcface's "
            "classes (sample_rate)"
        )


def estimated_memory(
    network: nn.Module,
    criterion: Loss,
    batch: Batch,
    device: torch.device = CPU,
    precision: torch.dtype = torch.float32,
) -> int:
    """Bytes of weights, gradients and momentum, and of the tensors saved for the backward pass of ``batch``.

    The latter are measured on copies: those of the network with two and with four images, extrapolated linearly to
    this process's slice; those of the loss with the whole batch, as they may grow with its square or cube. Their sum
    is multiplied by :data:`TRANSIENT`.
    """
    parameters = sum(p.numel() * p.element_size() for p in [*network.parameters(), *criterion.parameters()])
    shape = batch.images.shape[1:]
    (two, embeddings), (four, _) = (_saved_by_network(network, (images, *shape), precision) for images in (2, 4))
    saved = two + (four - two) // 2 * (len(batch.images) - 2) + _saved_by_loss(criterion, batch, embeddings.shape[1])
    return 3 * parameters + round(TRANSIENT[device.type] * saved)


def _saved_by_network(network: nn.Module, shape: tuple[int, ...], precision: torch.dtype) -> tuple[int, torch.Tensor]:
    """Bytes saved for the backward pass of black images [N, 3, H, W], and their embeddings.

    They are not taken from the batch, of which a process may have fewer, even a single one, of which BN has no
    statistics without the other processes.
    """
    network = copy.deepcopy(network).cpu().train()
    images = torch.zeros(shape, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    with _saved_for_backward(network) as saved, torch.autocast("cpu", precision, enabled=precision != torch.float32):
        embeddings = network(normalize_pixels(images))
    return sum(saved.values()), embeddings


def _saved_by_loss(criterion: Loss, batch: Batch, embedding_size: int) -> int:
    """Bytes saved for the backward pass of a loss of the whole batch, with random embeddings."""
    criterion, generator = copy.deepcopy(criterion).cpu().train(), torch.Generator().manual_seed(0)
    embeddings = torch.randn(len(batch.labels), embedding_size, generator=generator).requires_grad_()
    with _saved_for_backward(criterion) as saved:
        loss, _ = check_returned(criterion, criterion(embeddings, Step(batch.labels, generator, tuple(batch.teachers))))
    assert loss.ndim == 0  # keeps the graph alive until here, so that no storage reuses a counted address
    return sum(saved.values())


@contextlib.contextmanager
def _saved_for_backward(module: nn.Module) -> Generator[dict[int, int]]:
    """Address to bytes of every tensor that the block saves for its backward pass, without parameters."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def free_memory(device: torch.device) -> int:
    """Free bytes on ``device``; on a CPU, within this process's cgroup limits (containers, clusters)."""
    if device.type == "cuda":  # what PyTorch holds without using it is free for this process
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return min([psutil.virtual_memory().available, *_free_below_limits(_cgroups())])


def _cgroups() -> list[Path]:
    """This process's cgroup and its parents; empty without cgroup v2."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    current = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    return [] if current is None else [CGROUPS / current, *(CGROUPS / parent for parent in Path(current).parents)]


def _free_below_limits(groups: list[Path]) -> list[int]:
    """Bytes that each group with a limit may still allocate."""
    left = []
    for group in groups:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
            limit, used = ((group / name).read_text(encoding="ascii") for name in ("memory.max", "memory.current"))
            left.append(int(limit) - int(used))
    return left


def check_returned(criterion: Loss, returned: Any) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
    """The loss and the log that a method returned; the values of the log are not read, which a GPU would wait for.

    Raises:
        TrainingError: they are something else, or the log has a name of :data:`.settings.ALWAYS_LOGGED`.
    """
    name = type(criterion).__name__
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict)):
        raise TrainingError(f"{name} must return a loss and a dict of what to log")
    loss, log = returned
    if not (isinstance(loss, torch.Tensor) and loss.ndim == 0 and loss.requires_grad):
        raise TrainingError(f"{name} must return a scalar tensor that depends on the embeddings as its loss")
    if taken := sorted(ALWAYS_LOGGED & log.keys()):
        raise TrainingError(f"{name} logs {', '.join(taken)}, which is logged for every method: choose other names")
    for key, number in log.items():
        one = number.numel() == 1 if isinstance(number, torch.Tensor) else isinstance(number, numbers.Real)
        if not one:
            raise TrainingError(f"{name} logs {key!r}, which is not one number: {number!r}")
    return loss, {key: each.detach() if isinstance(each, torch.Tensor) else each for key, each in log.items()}


class LossState(NamedTuple):
    """What a loss consists of: ``parameters``, name to identity; ``shapes`` of all that a checkpoint contains."""

    parameters: dict[str, int]
    shapes: dict[str, torch.Size]

    @classmethod
    def of(cls, criterion: Loss) -> "LossState":
        parameters = {name: id(parameter) for name, parameter in criterion.named_parameters()}
        return cls(parameters, {name: tensor.shape for name, tensor in criterion.state_dict().items()})


def check_state(criterion: Loss, before: LossState) -> None:
    """A step keeps the parameters of a loss, which are those that are trained, and the sizes of its state.

    Raises:
        TrainingError: the loss made a parameter or a buffer since ``before``, or resized one.
    """
    after, name = LossState.of(criterion), type(criterion).__name__
    if late := [each for each, identity in after.parameters.items() if before.parameters.get(each) != identity]:
        raise TrainingError(
            f"{name} made its parameters {', '.join(late)} during a step, where they are never "
            "trained: make them in __init__ (LossContext has the sizes of embeddings and the number of identities)"
        )
    everything = {**before.shapes, **after.shapes}
    if changed := [each for each in everything if before.shapes.get(each) != after.shapes.get(each)]:
        raise TrainingError(
            f"{name} changed the size of its state {', '.join(changed)} during a step, so that no "
            "checkpoint could be restored: register buffers of a fixed size in __init__"
        )


def check_labels(labels: np.ndarray, training_set: str) -> None:
    """Labels [N] must be 0 … identities − 1, each with an image.

    Raises:
        TrainingError: a label without images.
    """
    missing = np.flatnonzero(np.bincount(labels) == 0)
    if len(missing):
        raise TrainingError(
            f"{training_set}: {len(missing)} labels have no image (the first is {missing[0]}): delete the file and "
            "run again to recreate the training set"
        )


def check_teacher_embeddings(sidecar: dict, store_metadata: dict, faces: int, teacher: str, path: str) -> None:
    """A teacher's embeddings must come from this store and this teacher.

    Args:
        sidecar: as :mod:`triplet_distillation.evaluation.teacher_cache` writes it.
        store_metadata, faces: of the store that is trained on.
        teacher: digest of the teacher's weights file.
        path: of the embeddings, for the message.

    Raises:
        TrainingError: they come from another data set or another teacher, or are not normalized.
    """
    checks = {
        "come from another data set": sidecar["store"] != store_metadata or sidecar["shape"][0] != faces,
        "come from another teacher": sidecar["teacher"]["weights"] != teacher,
        "are not normalized": not sidecar["normalized"],
    }
    problems = [problem for problem, found in checks.items() if found]
    if problems:
        raise TrainingError(f"{path}: its embeddings {' and '.join(problems)}; delete it and run again to recreate it")
