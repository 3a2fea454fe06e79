"""The cost of a network: parameters, size, floating-point operations, time per image (Table 1)."""

import statistics
import time

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from triplet_distillation.files import write_json
from triplet_distillation.logs import summary
from triplet_distillation.networks.weights import create
from triplet_distillation.provenance import library_versions

PER_ELEMENT = {"native_batch_norm": 2, "_prelu_kernel": 2, "add": 1}
"""Operations per output value: BN scales and shifts, PReLU compares and multiplies, a shortcut adds."""


class ElementwiseCounter(TorchDispatchMode):
    """Counts in ``operations`` the element-wise operations (:data:`PER_ELEMENT`) that run inside it."""

    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if per_element := PER_ELEMENT.get(func.overloadpacket.__name__):
            first = output[0] if isinstance(output, tuple) else output
            self.operations += per_element * first.numel()
        return output


def count_operations(network: nn.Module) -> tuple[int, int]:
    """FLOPs for one 112×112 image: (convolutions and matrix products, the same plus element-wise operations).

    One multiply-add is two FLOPs. The network must be in evaluation mode.
    """
    image = torch.zeros(1, 3, 112, 112)  # on the meta device, nothing would be computed, but SymPy imported: slower
    with torch.no_grad(), FlopCounterMode(display=False) as products, ElementwiseCounter() as elementwise:
        network(image)
    return products.get_total_flops(), products.get_total_flops() + elementwise.operations


def time_forward(network: nn.Module, runs: int, warm_up: int = 2) -> list[float]:
    """Seconds of each of ``runs`` forward passes of one image on one thread, after ``warm_up`` uncounted ones.

    The network must be in evaluation mode. The C library's allocator is left as it is (:func:`.execution.keep_memory`
    is not called).
    """
    torch.set_num_threads(1)
    image = torch.zeros(1, 3, 112, 112)
    seconds = []
    with torch.inference_mode():
        for _ in range(warm_up + runs):
            start = time.perf_counter()
            network(image)
            seconds.append(time.perf_counter() - start)
    return seconds[warm_up:]


def network_cost(network: nn.Module) -> dict:
    """``parameters, size_mib, flops, flops_elementwise`` of a network made of PyTorch modules."""
    flops, flops_elementwise = count_operations(network)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "size_mib": sum(tensor.numel() * 4 for tensor in network.state_dict().values()) / 2**20,
        "flops": flops,
        "flops_elementwise": flops_elementwise,
    }


def profile(settings: dict, runs: int) -> dict:
    """``parameters``; ``size_mib`` of the weights as float32; ``flops``, ``flops_elementwise``, ``macs`` for one
    image; ``seconds_per_image`` (mean of ``runs`` on one thread, as in the paper) and ``seconds_median``."""
    network = create(settings).eval()
    cost = network.cost() if network.pretrained else network_cost(network)
    seconds = time_forward(network, runs)
    return {
        **cost,
        "macs": cost["flops"] // 2,
        "seconds_per_image": statistics.mean(seconds),
        "seconds_median": statistics.median(seconds),
        "runs": runs,
    }


def write_profile(name: str, settings: dict, runs: int, output: str) -> None:
    """Write :func:`profile` of the network called ``name`` as JSON."""
    found = profile(settings, runs)
    write_json(output, {**found, "libraries": library_versions()})
    summary(
        f"{name}: {found['parameters'] / 1e6:.2f} M parameters, {found['flops'] / 1e9:.2f} GFLOPs, "
        f"{found['seconds_per_image']:.3f} s per image"
    )
