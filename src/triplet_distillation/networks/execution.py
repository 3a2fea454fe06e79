"""Where networks run: threads, device, determinism."""

import os

import torch

from triplet_distillation.settings import ExecutionSettings


def setup_device(execution: ExecutionSettings) -> torch.device:
    """Set the number of threads, allow only deterministic algorithms, and return the device.

    If a node runs several processes, each takes a GPU of its own.

    Raises:
        RuntimeError: the device is not available.
    """
    device = execution.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError(
            f"execution.device is {device}, but PyTorch finds no GPU: set it to cpu, or run on a machine with "
            "a GPU (the CPU build of PyTorch never finds one)"
        )
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    torch.set_num_threads(execution.threads)
    torch.use_deterministic_algorithms(True)
    return torch.device(device)
