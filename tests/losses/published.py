"""What the authors' own code gives on small inputs: numbers only, in ``published_losses.json``."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triplet_distillation.losses import Loss, Step

VALUES = json.loads((Path(__file__).parent / "published_losses.json").read_text())
"""Name of a loss to ``source``, ``settings``, ``inputs`` (one set, or one per step) and ``steps`` (what came out)."""


def tensor(values: list) -> torch.Tensor:
    """float64, or int64 for labels."""
    array = np.asarray(values)
    return torch.from_numpy(array.astype(np.int64 if array.dtype.kind == "i" else np.float64))


def inputs(name: str) -> list[dict[str, Any]]:
    """The inputs of every step; lists are tensors."""
    given, steps = VALUES[name]["inputs"], VALUES[name]["steps"]
    each = given if isinstance(given, list) else [given] * len(steps)
    return [{key: tensor(value) if isinstance(value, list) else value for key, value in one.items()} for one in each]


def outputs(name: str) -> list[dict[str, Any]]:
    """What the published code gave at every step; lists are tensors."""
    return [
        {key: tensor(value) if isinstance(value, list) else value for key, value in one.items()}
        for one in VALUES[name]["steps"]
    ]


def gradient(criterion: Loss, embeddings: torch.Tensor, step: Step) -> tuple[torch.Tensor, torch.Tensor, dict]:
    """Loss, its gradient with respect to ``embeddings``, and the log."""
    embeddings = embeddings.clone().requires_grad_()
    loss, log = criterion(embeddings, step)
    (found,) = torch.autograd.grad(loss, embeddings)
    return loss.detach(), found, log


def assert_agrees(found: torch.Tensor | float, expected: torch.Tensor | float, relative: float = 1e-9) -> None:
    """Largest difference at most ``relative`` times the largest magnitude."""
    found, expected = (torch.as_tensor(each, dtype=torch.float64) for each in (found, expected))
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= relative * expected.abs().max()
