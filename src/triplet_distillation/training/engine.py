"""One training loop for every stage: ArcFace, triplets, distillation; in one process or in several."""

import contextlib
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from tensorboardX import SummaryWriter
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from triplet_distillation.logs import progress
from triplet_distillation.networks.weights import normalise_pixels
from triplet_distillation.training import checkpoint, guards, processes, sampling
from triplet_distillation.training.batches import Batch, Batches
from triplet_distillation.training.processes import Processes
from triplet_distillation.training.schedule import learning_rate

log = logging.getLogger(__name__)
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""In what the network computes; weights, loss and optimiser stay in fp32."""


class Stopped(RuntimeError):
    """The training was told to stop (SIGTERM) and has written a checkpoint."""


class Run(NamedTuple):
    """What a step works on. ``model`` is ``network`` as a step calls it: compiled, or over several processes."""

    network: nn.Module
    model: nn.Module
    loss: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    settings: dict
    precision: torch.dtype
    seed: int
    device: torch.device
    processes: Processes


def parameter_groups(network: nn.Module, loss: nn.Module, weight_decay: float) -> list[dict]:
    """Weights with weight decay; biases, BN and PReLU parameters (one dimension) without (Chen et al. 2018)."""
    parameters = [*network.parameters(), *loss.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def train(
    network: nn.Module,
    loss: nn.Module,
    batches: Batches,
    settings: dict,
    execution: dict,
    seed: int,
    device: torch.device,
    folder: Path,
    digest: str,
    among: Processes,
) -> list[dict]:
    """Train ``network`` in place; goes on from the folder's checkpoint where there is one.

    Args:
        network: images [B, 3, 112, 112] to embeddings.
        loss: a method (:mod:`triplet_distillation.losses`).
        batches: item t is the batch of step t, with this process's share of its images.
        settings: ``iterations, learning_rate, schedule, milestones, decay, warmup,
            momentum, weight_decay, clip_norm, checkpoint_every, loader_workers``.
        execution: ``precision, compile``.
        seed: of the run, for what draws at random (a loss, dropout).
        device: to train on.
        folder: of the checkpoints and of TensorBoard's events; the first process writes them.
        digest: of the settings, data and code that a checkpoint must belong to.
        among: which of how many processes this is; a checkpoint may come from another number.

    Returns:
        One dict a step: ``step, loss, learning_rate, mean_cosine`` and what the loss logs.

    Raises:
        TrainingError: a guard (:mod:`.guards`) says that it is not worth going on.
        Stopped: SIGTERM came; at most the step that it fell into is lost.
    """
    run = _prepared(network, loss, settings, execution, seed, device, among)
    history = _resumed(run, folder, digest)
    iterations, start = settings["iterations"], len(history)
    if start < iterations:
        guards.check_memory(network, loss, batches[start], device)
    loader = DataLoader(
        batches, batch_size=None, sampler=range(start, iterations), num_workers=settings["loader_workers"]
    )
    shown = progress(loader, "train", "step", total=iterations, initial=start) if among.rank == 0 else loader
    with _events(folder, start, among) as write_events, _told_to_stop() as told:
        for step, batch in zip(range(start, iterations), shown):
            history.append(_step(run, batch, step))
            guards.check_history(history)
            write_events(history[-1])
            stop = processes.any_process(told(), device, among)
            if stop or (step + 1) % settings["checkpoint_every"] == 0 or step + 1 == iterations:
                _save(run, history, folder, digest)
            if stop:
                raise Stopped(f"told to stop after step {step} of {iterations}; the next run goes on from there")
    network.eval()
    return history


def _prepared(network, loss, settings, execution, seed, device, among) -> Run:
    """Network and loss on the device, with all that a step needs beside them."""
    network.to(device, memory_format=torch.channels_last).train()
    loss.to(device).train()
    processes.with_shared_statistics(network, device, among)
    groups = parameter_groups(network, loss, settings["weight_decay"])
    if execution["compile"]:
        _check_compiler(device)
        network.compile()
    return Run(
        network,
        processes.shared(network, device, among),
        loss,
        torch.optim.SGD(groups, lr=0.0, momentum=settings["momentum"]),
        torch.amp.GradScaler(device.type, enabled=execution["precision"] == "fp16"),
        settings,
        PRECISIONS[execution["precision"]],
        seed,
        device,
        among,
    )


def _check_compiler(device: torch.device) -> None:
    """``execution.compile`` makes C++ of a network on a CPU."""
    if device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        raise guards.TrainingError(
            "execution.compile needs a C++ compiler, and there is no g++ here (the variable CXX names another): "
            "install one, or set compile to false"
        )


def _step(run: Run, batch: Batch, step: int) -> dict:
    """One step: the embeddings of the whole batch, its loss, the gradient, the new weights."""
    rate = learning_rate(step, run.settings)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    torch.manual_seed(_seed_of(run.seed, "dropout", step, run.processes.rank))
    images = normalise_pixels(batch.images.to(run.device, non_blocking=True))
    with torch.autocast(run.device.type, run.precision, enabled=run.precision != torch.float32):
        own = run.model(images.contiguous(memory_format=torch.channels_last))
    embeddings = processes.gather(own.float(), run.processes)
    teacher = None if batch.teacher is None else batch.teacher.to(run.device)
    generator = torch.Generator().manual_seed(_seed_of(run.seed, "loss", step))
    value, logged = run.loss(embeddings, batch.labels.to(run.device), teacher, generator)
    run.optimiser.zero_grad(set_to_none=True)
    run.scaler.scale(value).backward()
    if run.settings["clip_norm"]:
        run.scaler.unscale_(run.optimiser)
        nn.utils.clip_grad_norm_([*run.network.parameters(), *run.loss.parameters()], run.settings["clip_norm"])
    run.scaler.step(run.optimiser)
    run.scaler.update()
    mean_cosine = functional.normalize(embeddings.detach()).mean(dim=0).square().sum()
    record = {"loss": value.detach(), "learning_rate": rate, "mean_cosine": mean_cosine, **logged}
    return {"step": step, **{name: float(number) for name, number in record.items()}}


def _seed_of(seed: int, stream: str, *counters: int) -> int:
    return int(sampling.generator(seed, stream, *counters).integers(2**63))


def _save(run: Run, history: list[dict], folder: Path, digest: str) -> None:
    if run.processes.rank == 0:
        state = {
            "network": run.network.state_dict(),
            "loss": run.loss.state_dict(),
            "optimiser": run.optimiser.state_dict(),
            "scaler": run.scaler.state_dict(),
            "history": {name: [record[name] for record in history] for name in history[0]},
        }
        checkpoint.save(folder, digest, len(history), state)


def _resumed(run: Run, folder: Path, digest: str) -> list[dict]:
    """The history so far, with ``run`` as it was then; empty where there is no checkpoint."""
    with processes.first_before_others(run.processes):  # the first sets stale checkpoints aside
        state = checkpoint.load(folder, digest)
    if state is None:
        return []
    run.network.load_state_dict(state["network"])
    run.loss.load_state_dict(state["loss"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.scaler.load_state_dict(state["scaler"])
    columns = state["history"]
    history = [dict(zip(columns, row)) for row in zip(*columns.values())]
    log.info("going on from step %d of %d", len(history), run.settings["iterations"])
    return history


@contextlib.contextmanager
def _events(folder: Path, start: int, among: Processes) -> Iterator[Callable[[dict], None]]:
    """A function that writes a step's record for TensorBoard; steps that a killed run wrote beyond ``start`` go."""
    if among.rank:
        yield lambda record: None
        return
    with SummaryWriter(str(folder / "tensorboard"), purge_step=start, filename_suffix=f".from{start}") as writer:

        def write(record: dict) -> None:
            for name, number in record.items():
                if name != "step":
                    writer.add_scalar(name, number, record["step"])

        yield write


@contextlib.contextmanager
def _told_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM has come, as it does where a cluster takes a job's place."""
    told = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told.is_set
    finally:
        signal.signal(signal.SIGTERM, previous)
