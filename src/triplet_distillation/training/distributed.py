"""Several processes that train one network: one global batch, one loss, the same steps as one process.

Each process passes its slice of the global batch through the network; the embeddings of
all are gathered, and each process computes the loss of the global batch, so that a
triplet may span two processes. BN uses the statistics of the global batch.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from triplet_distillation.files import write_json
from triplet_distillation.networks.execution import LAUNCHED
from triplet_distillation.settings import ExecutionSettings, TrainingJob


class DistributedContext(NamedTuple):
    """This process's ``rank`` among ``world_size`` processes."""

    rank: int = 0
    world_size: int = 1

    def rank_slice(self, batch_size: int) -> slice:
        """This process's slice of a global batch.

        Raises:
            ValueError: the batch cannot be divided evenly.
        """
        if batch_size % self.world_size:
            raise ValueError(
                f"a batch of {batch_size} images cannot be divided evenly among {self.world_size} processes: change "
                "sampling, execution.processes or execution.nodes"
            )
        size = batch_size // self.world_size
        return slice(self.rank * size, (self.rank + 1) * size)


def needs_launch(execution: ExecutionSettings) -> bool:
    """Whether several processes are wanted and this is not yet one of them."""
    return execution.world_size > 1 and LAUNCHED not in os.environ


def launch(job: TrainingJob, folder: str | Path) -> None:
    """Run :mod:`.worker` with ``job`` in all processes on all nodes that the job asks for.

    PyTorch's launcher starts them, stops all if one fails, and forwards SIGTERM. Several
    nodes need an existing allocation, in which ``srun`` starts the launcher on each.

    Raises:
        RuntimeError: a process failed; its error is in the log.
    """
    path = Path(folder) / "job.json"
    write_json(path, job.as_dict())
    environment = os.environ | {"OMP_NUM_THREADS": str(job.execution.threads), LAUNCHED: "1"}
    command = [*_launcher(job.execution), "-m", "triplet_distillation.training.worker", str(path)]
    # In a session of its own, so that SIGTERM to this job's process group comes once: a second one, while the launcher
    # still waits for its processes, would make it give up on them.
    with _forward_sigterm(subprocess.Popen(command, env=environment, start_new_session=True)) as running:
        if running.wait():
            raise RuntimeError(f"one of the training processes exited with code {running.returncode}: see above")


def _launcher(execution: ExecutionSettings) -> list[str]:
    """PyTorch's launcher, on every node; each job has a rendezvous of its own, where no other job's processes come."""
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={execution.processes}"]
    nodes = execution.nodes
    if nodes == 1:
        return [*launcher, "--standalone"]
    host = socket.gethostname()
    rendezvous = [f"--rdzv-endpoint={host}:{_free_port()}", f"--rdzv-id={host}.{os.getpid()}"]
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    return [*srun, *launcher, f"--nnodes={nodes}", "--rdzv-backend=c10d", *rendezvous]


def _free_port() -> int:
    """A port on which nothing listens on this machine."""
    with socket.socket() as opened:
        opened.bind(("", 0))
        return opened.getsockname()[1]


@contextlib.contextmanager
def _forward_sigterm(running: subprocess.Popen) -> Generator[subprocess.Popen]:
    """Pass SIGTERM on to a process, which does not outlive the block."""
    previous = signal.signal(signal.SIGTERM, lambda *_: running.terminate())
    try:
        yield running
    finally:
        signal.signal(signal.SIGTERM, previous)
        running.terminate()  # nothing happens if it has ended
        running.wait()


@contextlib.contextmanager
def init_distributed(device: torch.device) -> Generator[DistributedContext]:
    """Join the processes started by :func:`launch`; a context of one process if there are none."""
    if LAUNCHED not in os.environ:
        yield DistributedContext()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield DistributedContext(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def wrap_ddp(network: nn.Module, device: torch.device, dist: DistributedContext) -> nn.Module:
    """``network`` with gradients averaged over all processes; itself if there is only one."""
    if dist.world_size == 1:
        return network
    # BN's statistics are the same in every process, so there are no buffers to broadcast.
    return DistributedDataParallel(
        network, device_ids=[device] if device.type == "cuda" else None, forward_sync_buffers=False
    )


def convert_sync_batchnorm(network: nn.Module, device: torch.device, dist: DistributedContext) -> nn.Module:
    """``network`` with its BN layers replaced in place by ones that use the statistics of the global batch."""
    if dist.world_size == 1:
        return network
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, _CPUSyncBatchNorm(child))
    return network


def all_gather(embeddings: torch.Tensor, dist: DistributedContext) -> torch.Tensor:
    """The embeddings [B / world_size, E] of all processes as [B, E], in the order of the global batch.

    Gradients flow through the embeddings of this process.
    """
    if dist.world_size == 1:
        return embeddings
    parts = [torch.empty_like(embeddings) for _ in range(dist.world_size)]
    distributed.all_gather(parts, embeddings.detach().contiguous())
    # Only this process's part has a gradient here. DDP divides the sum over processes by their number.
    embeddings.register_hook(lambda gradient: gradient * dist.world_size)
    parts[dist.rank] = embeddings
    return torch.cat(parts)


@contextlib.contextmanager
def main_process_first(dist: DistributedContext) -> Generator[None]:
    """Run the block in the main process before the others, if it changes files."""
    if dist.rank:
        distributed.barrier()
    yield
    if dist.world_size > 1 and not dist.rank:
        distributed.barrier()


def all_reduce_any(flag: bool, device: torch.device, dist: DistributedContext) -> bool:
    """Whether ``flag`` is true in any process; the result is the same in all."""
    if dist.world_size == 1:
        return flag
    reduced = torch.tensor(int(flag), device=device)
    distributed.all_reduce(reduced, distributed.ReduceOp.MAX)
    return bool(reduced)


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, *gradients):
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


class _CPUSyncBatchNorm(nn.Module):
    """BN with the statistics of the global batch on CPUs, which PyTorch's own ``SyncBatchNorm`` does not support.

    It shares the original layer's parameters and buffers, under the same names.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(self, layer: _BatchNorm):
        super().__init__()
        assert layer.momentum is not None  # None is PyTorch's cumulative average, which no network here uses
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
        mean = _AllReduceSum.apply(x.sum(over)) / count
        centered = x - mean.view(shape)
        variance = _AllReduceSum.apply(centered.square().sum(over)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = (variance + self.eps).rsqrt() * self.weight
        return centered * scale.view(shape) + self.bias.view(shape)
