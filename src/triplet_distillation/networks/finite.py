"""Weights with NaN or infinity: found where they arise and where they come in."""

from collections.abc import Mapping

import torch


def invalid_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Which parameters and buffers contain NaN or infinity, in words; empty if none does.

    A GPU is waited for once, whatever the number of tensors.
    """
    floating = {name: tensor.detach() for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not floating:
        return ""
    finite = torch.stack([tensor.isfinite().all() for tensor in floating.values()]).tolist()
    wrong = [name for name, is_finite in zip(floating, finite) if not is_finite]
    if not wrong:
        return ""
    kind = "NaN" if bool(floating[wrong[0]].isnan().any()) else "infinity"
    return f"{len(wrong)} of {len(floating)} tensors are not finite; the first, {wrong[0]}, contains {kind}"


def check_weights(tensors: Mapping[str, torch.Tensor], origin: str, remedy: str) -> None:
    """Parameters and buffers must be finite.

    Args:
        tensors: by name; those of whole numbers are ignored.
        origin: the model and its file, which the message starts with.
        remedy: what the message ends with.

    Raises:
        ValueError: one contains NaN or infinity.
    """
    if problem := invalid_tensors(tensors):
        raise ValueError(f"{origin}: {problem}: {remedy}")
