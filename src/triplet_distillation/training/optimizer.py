"""SGD with momentum that also trains class centers of which a step uses a few: only their rows are touched."""

from collections.abc import Iterable

import torch
from torch import nn


class SparseSGD(torch.optim.SGD):
    """PyTorch's SGD; a parameter with a sparse gradient is updated in the rows of the gradient alone.

    The momentum and the weight decay of the other rows wait until they are used again, as in Partial FC (An et al.
    2022, arXiv 2203.15565). PyTorch's own momentum of sparse gradients grows with every row that was ever used, and
    moves them all.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # ty: ignore[incompatible-method-override]  the training loop has no closures
        """Update all parameters."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._update_rows(parameter, group)
        super().step()

    def _update_rows(self, parameter: nn.Parameter, group: dict) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        values = values.add(parameter[rows], alpha=group["weight_decay"])
        state = self.state[parameter]
        if group["momentum"]:
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            values += group["momentum"] * state["momentum_buffer"][rows]
            state["momentum_buffer"][rows] = values
        parameter[rows] -= group["lr"] * values
        parameter.grad = None  # done; the dense update passes it over


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> None:
    """Scale all gradients so that their common L2 norm is at most ``max_norm``; sparse ones count by their values."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    values = [gradient._values() if gradient.is_sparse else gradient for gradient in gradients]
    scale = (max_norm / (nn.utils.get_total_norm(values) + 1e-6)).clamp(max=1.0)
    for gradient in values:
        gradient.mul_(scale)
