"""Where networks run: threads, device, determinism."""

import torch


def prepare(execution: dict) -> torch.device:
    """Fix the number of threads, allow deterministic algorithms only, and give the device.

    Args:
        execution: ``threads``, ``device``.

    Raises:
        RuntimeError: the device is not there.
    """
    if execution["device"].startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError(
            f"execution.device is {execution['device']}, but PyTorch sees no GPU here: set it to cpu, or run where "
            "there is one (the CPU build of PyTorch never sees one)"
        )
    torch.set_num_threads(execution["threads"])
    torch.use_deterministic_algorithms(True)
    return torch.device(execution["device"])
