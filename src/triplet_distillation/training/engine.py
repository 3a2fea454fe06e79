"""One training loop for every stage (ArcFace, triplets, distillation), in one process or several."""

import contextlib
import logging
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from tensorboardX import SummaryWriter
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from triplet_distillation.logs import progress
from triplet_distillation.losses import Loss, Step
from triplet_distillation.networks import Network
from triplet_distillation.networks.weights import normalize_pixels
from triplet_distillation.settings import ExecutionSettings, TrainingSettings
from triplet_distillation.training import checkpoint, distributed, guards, sampling
from triplet_distillation.training.batches import Batch, BatchDataset
from triplet_distillation.training.distributed import DistributedContext
from triplet_distillation.training.schedule import learning_rate

log = logging.getLogger(__name__)
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precision in which the network computes; weights, loss and optimizer stay in fp32."""


class Preempted(RuntimeError):
    """The training received SIGTERM and has written a checkpoint."""


class TrainContext(NamedTuple):
    """How and where training runs.

    ``settings`` of the training run, ``execution``; ``seed`` of the run, for everything that
    draws at random (a loss, dropout); ``device``; ``dist``, which may differ
    when training resumes; ``folder`` of checkpoints and TensorBoard events, written by the main process;
    ``digest`` of the settings, data and code that a checkpoint must match; ``snapshots``: what the main process does
    with the network after a number of steps, before a checkpoint says that it has been done.
    """

    settings: TrainingSettings
    execution: ExecutionSettings
    seed: int
    device: torch.device
    dist: DistributedContext
    folder: Path
    digest: str
    snapshots: Mapping[int, Callable[[Network], None]] = {}


class TrainState(NamedTuple):
    """What a step works on. ``model`` is ``network``, wrapped in DDP if there are several processes."""

    network: Network
    model: nn.Module
    criterion: Loss
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler


def parameter_groups(network: nn.Module, criterion: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for tensors with two or more dimensions; none for biases, BN and PReLU parameters."""
    parameters = [*network.parameters(), *criterion.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def train(network: Network, criterion: Loss, batches: BatchDataset, context: TrainContext) -> tuple[list[dict], float]:
    """Train ``network`` in place, resuming from the folder's checkpoint if there is one.

    Args:
        network: images [B, 3, 112, 112] to embeddings.
        criterion: a method (:mod:`triplet_distillation.losses`).
        batches: item t is the batch of step t, with this process's slice of its images.
        context: how and where to train.

    Returns:
        One dict per step: ``step, loss, learning_rate, mean_cosine`` and what the loss logs, which may vary; and the
        seconds of all steps, those before an interruption included.

    Raises:
        TrainingError: a guard (:mod:`.guards`) stopped the run.
        Preempted: SIGTERM was received; the current step was completed and saved.
    """
    settings, device, dist = context.settings, context.device, context.dist
    guards.check_memory(network, criterion, batches[0], device, PRECISIONS[context.execution.precision])
    state = build_state(network, criterion, context)
    history, before = load_checkpoint(state, context)
    started = time.perf_counter() - before
    iterations, start = settings.iterations, len(history)
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, iterations),
        num_workers=settings.loader_workers,
        pin_memory=device.type == "cuda",
    )
    shown = (
        progress(
            loader,
            "train",
            "step",
            total=iterations,
            initial=start,
            describe=lambda speed: (
                f"loss {history[-1]['loss']:.4g}, {speed * settings.sampling.global_batch_size:.3g} images/s"
            ),
        )
        if dist.rank == 0
        else loader
    )
    with _tensorboard(context, start) as write_record, _catch_sigterm() as stop_requested:
        for step, batch in zip(range(start, iterations), shown):
            guards.check_teachers(batch.teachers, batches.faces.teachers, step)
            history.append(train_step(state, context, batch, step))
            guards.check_history(history, criterion.loss_may_rise)
            write_record(history[-1])
            stop = distributed.all_reduce_any(stop_requested(), device, dist)
            saving = stop or (step + 1) % settings.checkpoint_every == 0 or step + 1 == iterations
            if saving or step + 1 in context.snapshots or (step + 1) % guards.PATIENCE == 0:
                guards.check_weights(network, criterion, history[-1])
            if step + 1 in context.snapshots and dist.rank == 0:
                context.snapshots[step + 1](network)
            if saving:
                save_checkpoint(state, history, time.perf_counter() - started, context)
            if stop:
                done = f"{step + 1} of {iterations} steps"
                raise Preempted(f"SIGTERM received: stopped after {done}; the next run resumes there")
    network.eval()
    return history, time.perf_counter() - started


def build_state(network: Network, criterion: Loss, context: TrainContext) -> TrainState:
    """Network and loss on the device, with optimizer and gradient scaler."""
    device, execution = context.device, context.execution
    network.to(device, memory_format=torch.channels_last).train()  # ty: ignore[no-matching-overload]  PyTorch's stub lacks memory_format
    criterion.to(device).train()
    distributed.convert_sync_batchnorm(network, device, context.dist)
    groups = parameter_groups(network, criterion, context.settings.weight_decay)
    if execution.compile:
        _check_compiler(device)
        network.compile()
    return TrainState(
        network,
        distributed.wrap_ddp(network, device, context.dist),
        criterion,
        torch.optim.SGD(groups, lr=0.0, momentum=context.settings.momentum),
        torch.amp.GradScaler(device.type, enabled=execution.precision == "fp16"),
    )


def _check_compiler(device: torch.device) -> None:
    """``execution.compile`` generates C++ for a network on a CPU."""
    if device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        raise guards.TrainingError(
            "execution.compile needs a C++ compiler, but g++ was not found (set the variable CXX to use another): "
            "install one, or set compile to false"
        )


def train_step(state: TrainState, context: TrainContext, batch: Batch, step: int) -> dict:
    """One step: the embeddings of the global batch, the loss, the gradient, the update; returns what is logged."""
    settings, device, dist = context.settings, context.device, context.dist
    precision = PRECISIONS[context.execution.precision]
    lr = learning_rate(step, settings)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    torch.manual_seed(_step_seed(context.seed, "dropout", step, dist.rank))
    images = normalize_pixels(batch.images.to(device, non_blocking=True))  # channels-last, as the batch is
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        local_embeddings = state.model(images)
    embeddings = distributed.all_gather(local_embeddings.float(), dist)
    current = Step(
        batch.labels.to(device),
        torch.Generator().manual_seed(_step_seed(context.seed, "loss", step)),
        tuple(teacher.to(device) for teacher in batch.teachers),
        step,
        settings.iterations,
    )
    before = guards.LossState.of(state.criterion)
    loss, logged = guards.check_returned(state.criterion, state.criterion(embeddings, current))
    guards.check_state(state.criterion, before)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    if settings.clip_norm:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_([*state.network.parameters(), *state.criterion.parameters()], settings.clip_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    mean_cosine = functional.normalize(embeddings.detach()).mean(dim=0).square().sum()
    record = {"loss": loss.detach(), "learning_rate": lr, "mean_cosine": mean_cosine, **logged}
    return {"step": step, **{name: float(number) for name, number in record.items()}}


def _step_seed(seed: int, stream: str, *counters: int) -> int:
    return int(sampling.generator(seed, stream, *counters).integers(2**63))


def save_checkpoint(state: TrainState, history: list[dict], seconds: float, context: TrainContext) -> None:
    """Write the state after the last step of ``history``, in the main process, with the seconds that it took."""
    if context.dist.rank == 0:
        content = {
            "network": state.network.state_dict(),
            "criterion": state.criterion.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "scaler": state.scaler.state_dict(),
            "history": _columns(history),
            "seconds": seconds,
        }
        checkpoint.save(context.folder, context.digest, len(history), content)


def _columns(history: list[dict]) -> dict[str, list]:
    """The history by name; NaN where a step did not log it."""
    names = dict.fromkeys(name for record in history for name in record)
    return {name: [record.get(name, math.nan) for record in history] for name in names}


def load_checkpoint(state: TrainState, context: TrainContext) -> tuple[list[dict], float]:
    """Restore ``state`` from the newest checkpoint; returns history and seconds so far, none without a checkpoint."""
    with distributed.main_process_first(context.dist):  # the main process sets stale checkpoints aside
        content = checkpoint.load(context.folder, context.digest)
    if content is None:
        return [], 0.0
    state.network.load_state_dict(content["network"])
    state.criterion.load_state_dict(content["criterion"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.scaler.load_state_dict(content["scaler"])
    columns = content["history"]
    history = [dict(zip(columns, row)) for row in zip(*columns.values())]
    guards.check_weights(state.network, state.criterion, history[-1])
    log.info("resuming from step %d of %d", len(history), context.settings.iterations)
    return history, content["seconds"]


@contextlib.contextmanager
def _tensorboard(context: TrainContext, start: int) -> Generator[Callable[[dict], None]]:
    """A function that writes a step's record for TensorBoard; hides steps from ``start`` on that a killed run wrote."""
    if context.dist.rank:
        yield lambda record: None
        return
    folder = str(context.folder / "tensorboard")
    with SummaryWriter(folder, purge_step=start, filename_suffix=f".from{start}") as writer:

        def write(record: dict) -> None:
            for name, number in record.items():
                if name != "step":
                    writer.add_scalar(name, number, record["step"])

        yield write


@contextlib.contextmanager
def _catch_sigterm() -> Generator[Callable[[], bool]]:
    """Whether SIGTERM was received, which is how a cluster preempts a job."""
    received = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: received.set())
    try:
        yield received.is_set
    finally:
        signal.signal(signal.SIGTERM, previous)
