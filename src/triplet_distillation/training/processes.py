"""Several processes that train one network: one global batch, one loss, the same steps as one process.

Each process sends its share of the global batch through the network; the embeddings of
all are gathered, and each process computes the loss of the whole batch, so that a
triplet may span two processes. BN normalises by the statistics of the whole batch.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from triplet_distillation.files import write_json

PORT = 29_400
"""Where the first of several nodes is asked for the others."""


class Processes(NamedTuple):
    """This process's ``rank`` among ``number``."""

    rank: int = 0
    number: int = 1

    def share(self, size: int) -> slice:
        """This process's part of a global batch of ``size``.

        Raises:
            ValueError: the batch cannot be shared out evenly.
        """
        if size % self.number:
            raise ValueError(
                f"a batch of {size} images cannot be shared out evenly among {self.number} processes: change "
                "sampling, execution.processes or execution.nodes"
            )
        part = size // self.number
        return slice(self.rank * part, (self.rank + 1) * part)


def wanted(execution: dict) -> bool:
    """Whether ``execution`` asks for several processes and this is none of them yet."""
    return execution["processes"] * execution["nodes"] > 1 and "WORLD_SIZE" not in os.environ


def launch(arguments: dict, execution: dict, folder: str | Path) -> None:
    """Run :mod:`.worker` with ``arguments`` in ``execution``'s ``processes`` on each of its ``nodes``.

    PyTorch's launcher starts them, ends all when one fails, and hands SIGTERM on. Several
    nodes are reached by ``srun``, inside a job that has them.

    Raises:
        RuntimeError: a process failed; its error is in the log.
    """
    job = Path(folder) / "job.json"
    write_json(job, arguments)
    nodes = execution["nodes"]
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={execution['processes']}"]
    if nodes == 1:
        command = [*launcher, "--standalone"]
    else:
        meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={socket.gethostname()}:{PORT}"]
        command = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", *launcher, *meeting]
    environment = os.environ | {"OMP_NUM_THREADS": str(execution["threads"])}
    with _passing_on_sigterm(
        subprocess.Popen([*command, "-m", "triplet_distillation.training.worker", str(job)], env=environment)
    ) as running:
        if running.wait():
            raise RuntimeError(f"one of the training's processes ended with code {running.returncode}: see above")


@contextlib.contextmanager
def _passing_on_sigterm(running: subprocess.Popen) -> Iterator[subprocess.Popen]:
    previous = signal.signal(signal.SIGTERM, lambda *_: running.terminate())
    try:
        yield running
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """This process among those that :func:`launch` started; alone where it did not."""
    if "WORLD_SIZE" not in os.environ:
        yield Processes()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def shared(network: nn.Module, device: torch.device, processes: Processes) -> nn.Module:
    """``network`` for a training step in this process: itself, or with BN and gradients over all processes."""
    if processes.number == 1:
        return network
    # BN's statistics are the same everywhere, so there are no buffers to send around.
    return DistributedDataParallel(
        network, device_ids=[device] if device.type == "cuda" else None, forward_sync_buffers=False
    )


def with_shared_statistics(network: nn.Module, device: torch.device, processes: Processes) -> nn.Module:
    """``network`` whose BN layers, in place, take the whole batch's statistics in training."""
    if processes.number == 1:
        return network
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, _SharedBatchNorm(child))
    return network


def gather(embeddings: torch.Tensor, processes: Processes) -> torch.Tensor:
    """All processes' embeddings [B / number, E] as [B, E] in the order of the global batch, with their gradients."""
    if processes.number == 1:
        return embeddings
    parts = [torch.empty_like(embeddings) for _ in range(processes.number)]
    distributed.all_gather(parts, embeddings.detach().contiguous())
    # Only this process's part carries a gradient here. DDP divides the sum over processes by their number.
    embeddings.register_hook(lambda gradient: gradient * processes.number)
    parts[processes.rank] = embeddings
    return torch.cat(parts)


@contextlib.contextmanager
def first_before_others(processes: Processes) -> Iterator[None]:
    """The block runs in the first process before it runs in the others, for what changes files."""
    if processes.rank:
        distributed.barrier()
    yield
    if processes.number > 1 and not processes.rank:
        distributed.barrier()


def any_process(told: bool, device: torch.device, processes: Processes) -> bool:
    """Whether ``told`` is true in any process; the same answer in all."""
    if processes.number == 1:
        return told
    flag = torch.tensor(int(told), device=device)
    distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    return bool(flag)


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(context, tensor):
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context, gradient):
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


class _SharedBatchNorm(nn.Module):
    """BN by the statistics of all processes' batches, for CPUs, where PyTorch's own ``SyncBatchNorm`` does not run.

    It holds the layer's own parameters and buffers under their own names.
    """

    def __init__(self, layer: _BatchNorm):
        super().__init__()
        self.eps, self.momentum = layer.eps, layer.momentum
        self.weight, self.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        over = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        x = x if x.dtype == torch.float64 else x.float()
        count = x.numel() // x.shape[1] * distributed.get_world_size()
        mean = _SumOverProcesses.apply(x.sum(over)) / count
        centred = x - mean.view(shape)
        variance = _SumOverProcesses.apply(centred.square().sum(over)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = (variance + self.eps).rsqrt() * self.weight
        return centred * scale.view(shape) + self.bias.view(shape)
