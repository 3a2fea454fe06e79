"""One training loop for every stage (ArcFace, triplets, distillation), in one process or several."""

import contextlib
import logging
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
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
from triplet_distillation.training.optimizer import SparseSGD, clip_gradients
from triplet_distillation.training.schedule import learning_rate

log = logging.getLogger(__name__)
READ_EVERY = {"cpu": 1, "cuda": guards.PATIENCE}
"""Steps after which losses are read and checked. A GPU is waited for then, and works on meanwhile otherwise."""
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
    precision = PRECISIONS[context.execution.precision]
    guards.check_memory(network, criterion, batches[0], guards.Machine.of(context.execution, device), precision)
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

    def describe(speed: float) -> str:
        loss = f"loss {history[-1]['loss']:.4g}, " if history else ""
        return f"{loss}{speed * settings.sampling.global_batch_size:.3g} images/s"

    unread: list[dict] = []
    writer = checkpoint.Writer(context.folder, context.digest) if dist.rank == 0 else contextlib.nullcontext()
    with (
        _tensorboard(context, start) as write_record,
        _catch_sigterm() as stop_requested,
        writer,
        _loaded(loader) as loaded,
    ):
        ready = batches_on_device(loaded, batches.faces.teachers, start, device)
        if dist.rank == 0:
            ready = progress(ready, "train", "step", total=iterations, initial=start, describe=describe)
        for step, batch in zip(range(start, iterations), ready):
            unread.append(train_step(state, context, batch, step))
            done = step + 1
            due = done % settings.checkpoint_every == 0 or done == iterations
            told_to_stop = dist.world_size == 1 and stop_requested()  # several processes must agree on the step
            if not (due or told_to_stop or done in context.snapshots or done % READ_EVERY[device.type] == 0):
                continue
            for record in read_records(unread):
                history.append(record)
                guards.check_history(history, criterion.loss_may_rise)
                write_record(record)
            unread.clear()
            stop = distributed.all_reduce_any(stop_requested(), device, dist)
            if due or stop or done in context.snapshots or done % guards.PATIENCE == 0:
                guards.check_weights(network, criterion, history[-1])
            if done in context.snapshots and dist.rank == 0:
                context.snapshots[done](network)
            if (due or stop) and isinstance(writer, checkpoint.Writer):
                writer.write(done, checkpoint_state(state, history, time.perf_counter() - started))
            if stop:
                raise Preempted(
                    f"SIGTERM received: stopped after {done} of {iterations} steps; the next run resumes there"
                )
    network.eval()
    return history, time.perf_counter() - started


def batches_on_device(
    loaded: Iterable[Batch], teachers: tuple[str, ...], start: int, device: torch.device
) -> Iterator[Batch]:
    """The batches that a loader gives, on ``device``; each is copied to a GPU while the step before it is computed.

    Args:
        teachers: paths of the embeddings in the batches, which are checked on the way.
        start: step of the first batch.

    Raises:
        TrainingError: a teacher's embedding is not finite, or is zero.
    """
    copying = torch.cuda.Stream(device) if device.type == "cuda" else None
    ahead: Batch | None = None
    for step, batch in enumerate(loaded, start=start):
        guards.check_teachers(batch.teachers, teachers, step)
        if copying is None:
            yield batch
            continue
        with torch.cuda.stream(copying):
            copied = batch.to(device)
        if ahead is not None:
            yield ahead
        # Waits on the GPU, not here. The allocator must know that these tensors are now used in this stream, too.
        torch.cuda.current_stream(device).wait_stream(copying)
        for tensor in (copied.images, copied.labels, *copied.teachers):
            tensor.record_stream(torch.cuda.current_stream(device))
        ahead = copied
    if ahead is not None:
        yield ahead


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
        SparseSGD(groups, lr=0.0, momentum=context.settings.momentum),
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
    """One step: the embeddings of the global batch, the loss, the gradient, the update.

    Args:
        batch: on the device.

    Returns:
        What is logged, numbers or tensors on the device, which :func:`read_records` reads.
    """
    settings, device, dist = context.settings, context.device, context.dist
    precision = PRECISIONS[context.execution.precision]
    lr = learning_rate(step, settings)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    torch.manual_seed(_step_seed(context.seed, "dropout", step, dist.rank))
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        local_embeddings = state.model(normalize_pixels(batch.images))  # channels-last, as the batch is
    embeddings = distributed.all_gather(local_embeddings.float(), dist)
    random = torch.Generator().manual_seed(_step_seed(context.seed, "loss", step))
    current = Step(batch.labels, random, batch.teachers, step, settings.iterations)
    before = guards.LossState.of(state.criterion)
    loss, logged = guards.check_returned(state.criterion, state.criterion(embeddings, current))
    guards.check_state(state.criterion, before)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    if settings.clip_norm:
        state.scaler.unscale_(state.optimizer)
        clip_gradients([*state.network.parameters(), *state.criterion.parameters()], settings.clip_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    mean_cosine = functional.normalize(embeddings.detach()).mean(dim=0).square().sum()
    return {"step": step, "loss": loss.detach(), "learning_rate": lr, "mean_cosine": mean_cosine, **logged}


def read_records(records: list[dict]) -> list[dict]:
    """What steps have logged as numbers; a GPU is waited for once, whatever there is to read."""
    on_gpu = [each for record in records for each in record.values() if _is_on_gpu(each)]
    read = iter(torch.stack([each.detach().double().reshape(()) for each in on_gpu]).tolist() if on_gpu else ())

    def number(logged: float | torch.Tensor) -> float:
        return next(read) if _is_on_gpu(logged) else float(logged)

    return [{name: each if name == "step" else number(each) for name, each in record.items()} for record in records]


def _is_on_gpu(logged: object) -> bool:
    return isinstance(logged, torch.Tensor) and logged.device.type != "cpu"


def _step_seed(seed: int, stream: str, *counters: int) -> int:
    return int(sampling.generator(seed, stream, *counters).integers(2**63))


def checkpoint_state(state: TrainState, history: list[dict], seconds: float) -> dict:
    """What a checkpoint after the last step of ``history`` contains; ``seconds`` that it took."""
    return {
        "network": state.network.state_dict(),
        "criterion": state.criterion.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "history": _columns(history),
        "seconds": seconds,
    }


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


@contextlib.contextmanager
def _loaded(loader: DataLoader) -> Generator[Iterator[Batch]]:
    """What a loader gives. Its workers, and what starts them under forkserver, never see SIGTERM.

    A scheduler sends it to a job's whole process group, and training still needs its workers to complete the step.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # which processes inherit
    try:
        loaded = iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        yield loaded
    finally:
        if loader.num_workers:  # otherwise Python ends them when it exits itself, by SIGTERM, and waits for ever
            loaded._shutdown_workers()  # ty: ignore[missing-attribute]  private, but the only way
