"""Where networks run: threads, device, determinism."""

import ctypes
import os
import platform

import torch

from triplet_distillation.portable import check_kernels
from triplet_distillation.settings import ExecutionSettings

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Parameters of glibc's ``mallopt``."""
LAUNCHED = "TRIPLET_DISTILLATION_LAUNCHED"
"""Set in the processes that :mod:`.training.distributed` starts. Elsewhere, ``RANK`` and the like are what another
launcher has left in the shell."""
TOP_PAD = 2**28
"""Bytes by which the heap grows at once where memory is kept."""


def keep_memory() -> bool:
    """Have glibc keep freed memory for this process's next tensors; returns whether it does.

    By default, glibc returns every large tensor's memory to the kernel and takes new,
    zeroed pages for the next one: up to a third of the time of a training step on a CPU. Peak
    memory grows somewhat, because freed memory is not always reusable. Other C libraries
    are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, 2**31 - 1), mallopt(M_TOP_PAD, TOP_PAD)])


def setup_device(execution: ExecutionSettings) -> torch.device:
    """Set the number of threads and the allocator, allow only deterministic algorithms, and return the device.

    If a node runs several processes, each takes a GPU of its own.

    Raises:
        RuntimeError: the device is not available.
        PortabilityError: portable kernels are asked for, but the process was not started with them.
    """
    check_kernels(required=execution.portable)
    device = execution.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError(
            f"execution.device is {device}, but PyTorch finds no GPU: set it to cpu, or run on a machine with "
            "a GPU (the CPU build of PyTorch never finds one)"
        )
    if device == "cuda" and LAUNCHED in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if execution.keep_memory:
        keep_memory()
    torch.set_num_threads(execution.threads)
    if execution.compile:
        torch.use_deterministic_algorithms(True)
    else:  # the same without importing the compiler, which takes a second
        torch.set_deterministic_debug_mode("error")
    # Otherwise PyTorch fills every new tensor with NaN before an operation writes it: a sixth of a training step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # ty: ignore[missing-attribute]  a property at run time
    return torch.device(device)
