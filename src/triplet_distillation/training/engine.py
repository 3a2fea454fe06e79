"""One training loop for every stage: ArcFace, triplets, distillation."""

import logging
import math
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from triplet_distillation.logs import progress
from triplet_distillation.networks.weights import normalise_pixels
from triplet_distillation.training import checkpoint, sampling
from triplet_distillation.training.batches import Batches
from triplet_distillation.training.schedule import learning_rate

log = logging.getLogger(__name__)


class TrainingError(RuntimeError):
    """Training cannot go on; the message says what to change."""


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
    seed: int,
    device: torch.device,
    folder: Path,
    digest: str,
) -> list[dict]:
    """Train ``network`` in place; goes on from the folder's checkpoint where there is one.

    Args:
        network: images [B, 3, 112, 112] to embeddings.
        loss: a method (:mod:`triplet_distillation.losses`).
        batches: item t is the batch of step t.
        settings: ``iterations, learning_rate, schedule, milestones, decay, warmup,
            momentum, weight_decay, clip_norm, checkpoint_every, loader_workers``.
        seed: of the run, for losses that draw at random.
        device: to train on.
        folder: of the checkpoint; locked while this runs.
        digest: of the settings, data and code that the checkpoint must belong to.

    Returns:
        One dict a step: ``step, loss, learning_rate`` and what the loss logs.

    Raises:
        TrainingError: the loss is not finite.
    """
    network.to(device, memory_format=torch.channels_last).train()
    loss.to(device).train()
    groups = parameter_groups(network, loss, settings["weight_decay"])
    optimiser = torch.optim.SGD(groups, lr=0.0, momentum=settings["momentum"])
    history: list[dict] = []
    with checkpoint.locked(folder):
        if state := checkpoint.load(folder, digest):
            network.load_state_dict(state["network"])
            loss.load_state_dict(state["loss"])
            optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["rng"])
            history = state["history"]
            log.info("going on from step %d of %d", len(history), settings["iterations"])
        steps = range(len(history), settings["iterations"])
        loader = DataLoader(batches, batch_size=None, sampler=steps, num_workers=settings["loader_workers"])
        for step, batch in zip(
            steps, progress(loader, "train", "step", total=settings["iterations"], initial=len(history))
        ):
            history.append(_step(network, loss, optimiser, batch, step, settings, seed, device))
            if (step + 1) % settings["checkpoint_every"] == 0 or step + 1 == settings["iterations"]:
                checkpoint.save(folder, digest, _state(network, loss, optimiser, history))
    network.eval()
    return history


def _step(network, loss, optimiser, batch, step, settings, seed, device) -> dict:
    rate = learning_rate(step, settings)
    for group in optimiser.param_groups:
        group["lr"] = rate
    images = normalise_pixels(batch.images.to(device)).contiguous(memory_format=torch.channels_last)
    teacher = None if batch.teacher is None else batch.teacher.to(device)
    generator = torch.Generator().manual_seed(int(sampling.generator(seed, "loss", step).integers(2**63)))
    value, logged = loss(network(images), batch.labels.to(device), teacher, generator)
    if not math.isfinite(value.item()):
        raise TrainingError(
            f"the loss is {value.item()} at step {step}, learning rate {rate:g}: lower learning_rate, "
            "lengthen warmup or set clip_norm, then run again (it goes on from the last checkpoint)"
        )
    optimiser.zero_grad(set_to_none=True)
    value.backward()
    if settings["clip_norm"]:
        nn.utils.clip_grad_norm_([*network.parameters(), *loss.parameters()], settings["clip_norm"])
    optimiser.step()
    return {"step": step, "loss": value.item(), "learning_rate": rate, **{k: float(v) for k, v in logged.items()}}


def _state(network, loss, optimiser, history) -> dict:
    return {
        "network": network.state_dict(),
        "loss": loss.state_dict(),
        "optimiser": optimiser.state_dict(),
        "rng": torch.get_rng_state(),
        "history": history,
    }
