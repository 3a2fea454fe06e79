"""Where networks run: threads, device, determinism."""

import os

import torch


def prepare(execution: dict) -> torch.device:
    """Fix the number of threads, allow deterministic algorithms only, and give the device.

    Of several processes on a node each takes a GPU of its own.

    Args:
        execution: ``threads``, ``device``.

    Raises:
        RuntimeError: the device is not there.
    """
    device = execution["device"]
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError(
            f"execution.device is {device}, but PyTorch sees no GPU here: set it to cpu, or run where "
            "there is one (the CPU build of PyTorch never sees one)"
        )
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    torch.set_num_threads(execution["threads"])
    torch.use_deterministic_algorithms(True)
    return torch.device(device)
