"""Training on a GPU: speed, memory and determinism in every precision, compiled and not, and in two processes.

ArcFace with IResNet-100 (480 images, the paper's first stage), with all of 85,742 classes and with a sampled tenth of
them, and triplet distillation with the slim student (10 × 18 images, its second stage), each by the engine's own step
with loader workers. Reported are images per second, how often a step waits for the GPU, peak memory, whether two
trainings give the same weights, and whether one that resumes from a checkpoint gives them, too. Two processes that
share the GPU are compared with one. The faces are noise, stored as PNG of a realistic size.
"""

import argparse
import contextlib
import dataclasses
import gc
import itertools
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Generator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "src")  # instead of this folder, whose statistics.py would hide Python's
sys.path.append(str(ROOT / "benchmarks"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from training import IDENTITIES, STUDENT, TEACHER, make_batches, make_store, uniform  # noqa: E402

from triplet_distillation import registry  # noqa: E402
from triplet_distillation.losses import LossContext  # noqa: E402
from triplet_distillation.networks import weights  # noqa: E402
from triplet_distillation.networks.execution import setup_device  # noqa: E402
from triplet_distillation.provenance import array_digest  # noqa: E402
from triplet_distillation.settings import ExecutionSettings  # noqa: E402
from triplet_distillation.training import engine, guards  # noqa: E402
from triplet_distillation.training.batches import BatchDataset  # noqa: E402
from triplet_distillation.training.distributed import DistributedContext  # noqa: E402

CLASSES = 85_742
"""Identities of MS1MV2, for which ArcFace has centers; the faces are of fewer."""
P_BY_K = {"kind": "pk", "p": 10, "k": 18}
STAGES = {
    "arcface_iresnet100": (TEACHER, uniform(480), "arcface", {}),
    "arcface_iresnet100_sampled": (TEACHER, uniform(480), "arcface", {"sample_rate": 0.1}),
    "distillation_slim": (STUDENT, P_BY_K, "triplet_distillation", {}),
}
WARMUP = 20
"""Steps before the measured ones."""


class Training:
    """One training on the GPU, with the engine's own functions."""

    def __init__(self, folder: Path, stage: str, execution: ExecutionSettings, iterations: int, checkpoints: Path):
        network, kind, loss, settings = STAGES[stage]
        device = setup_device(execution)
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.manual_seed(0)
        self.network = weights.create(network)
        context = LossContext(CLASSES, self.network.embedding_size, min_margin=0.2, max_margin=0.5)
        self.criterion = registry.load("losses", loss)(context, **settings)
        batches = make_batches(folder, kind, with_teacher=loss == "triplet_distillation")
        changed = {"schedule": "steps", "loader_workers": 8, "checkpoint_every": 10}  # a learning rate that is constant
        training = dataclasses.replace(batches.settings, iterations=iterations, **changed)
        self.batches: BatchDataset = batches
        self.context = engine.TrainContext(training, execution, 0, device, DistributedContext(), checkpoints, "")

    def measure(self, size: int) -> dict[str, float]:
        """Images per second after :data:`WARMUP` steps, waits per step, and GiB at the peak and as estimated before."""
        precision = engine.PRECISIONS[self.context.execution.precision]
        device, every = self.context.device, engine.READ_EVERY["cuda"]
        estimated = guards.estimated_memory(self.network, self.criterion, self.batches[0], device, precision)
        state = engine.build_state(self.network, self.criterion, self.context)
        steps = self.context.settings.iterations
        loader = DataLoader(self.batches, batch_size=None, sampler=range(steps), num_workers=8, pin_memory=True)
        unread: list[dict] = []
        waits, started, first = 0, time.perf_counter(), 0.0
        for step, batch in enumerate(engine.batches_on_device(loader, self.batches.faces.teachers, 0, device)):
            with waits_counted(step == WARMUP - 2) as counted:
                unread.append(engine.train_step(state, self.context, batch, step))
            waits += len(counted)
            if (step + 1) % every == 0:
                engine.read_records(unread)
                unread.clear()
            if step in (0, WARMUP - 1):
                torch.cuda.synchronize()
                first, started = first or time.perf_counter() - started, time.perf_counter()
        torch.cuda.synchronize()
        return {
            "images_per_second": size * (steps - WARMUP) / (time.perf_counter() - started),
            "waits_per_step": waits,
            "first_step_seconds": first,
            "peak_gib": torch.cuda.max_memory_reserved() / 2**30,
            "estimated_gib": estimated / 2**30,
        }

    def run(self) -> str:
        """Digest of the weights after a whole training."""
        engine.train(self.network, self.criterion, self.batches, self.context)
        return array_digest({name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()})


@contextlib.contextmanager
def waits_counted(count: bool) -> Generator[list]:
    """What made the CPU wait for the GPU in the block, as PyTorch notices it."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn" if count else "default")
        yield found
        torch.cuda.set_sync_debug_mode("default")
        found[:] = [each for each in found if "synchroniz" in str(each.message)] if count else []
        for each in found:
            print("waits:", each.filename, each.lineno, file=sys.stderr)


def two_processes(folder: Path) -> dict:
    """Largest relative difference of the losses of two processes on this GPU (gloo, PyTorch's DDP and SyncBatchNorm)
    from those of one process."""
    losses = {}
    for processes in (1, 2):
        checkpoints = folder / f"processes{processes}"
        context = torch.multiprocessing.get_context("spawn")
        queue = context.SimpleQueue()
        started = [
            context.Process(target=_process, args=(rank, processes, folder, checkpoints, queue))
            for rank in range(processes)
        ]
        for process in started:
            process.start()
        losses[processes] = queue.get()
        for process in started:
            process.join()
    one, two = (np.array(losses[processes]) for processes in (1, 2))
    return {"steps": len(one), "largest_relative_difference": float(np.abs(two / one - 1).max())}


def _process(rank: int, processes: int, folder: Path, checkpoints: Path, queue) -> None:
    training = Training(folder, "distillation_slim", ExecutionSettings(device="cuda", threads=4), 12, checkpoints)
    if processes > 1:
        rendezvous = torch.distributed.FileStore(str(folder / "rendezvous"), processes)
        torch.distributed.init_process_group("gloo", store=rendezvous, rank=rank, world_size=processes)
    dist = DistributedContext(rank, processes)
    batches = training.batches
    size = batches.settings.sampling.global_batch_size
    local = BatchDataset(batches.faces, batches.sampler, batches.settings, batches.seed, dist.rank_slice(size))
    context = training.context._replace(dist=dist)
    history, _ = engine.train(training.network, training.criterion, local, context)
    if rank == 0:
        queue.put([record["loss"] for record in history])
    if processes > 1:
        torch.distributed.destroy_process_group()


def measure(folder: Path, stage: str, execution: ExecutionSettings, steps: int) -> dict:
    sampling = STAGES[stage][1]
    size = sampling.get("batch_size") or sampling["p"] * sampling["k"]
    found: dict = Training(folder, stage, execution, steps, folder / "unused").measure(size)
    names = iter(range(3))
    digests = []
    for iterations in ([12], [12], [5, 12]):
        checkpoints = folder / f"{stage}-{execution.precision}-{execution.compile}-{next(names)}"
        digests.append([Training(folder, stage, execution, number, checkpoints).run() for number in iterations][-1])
    return found | {"same_bits": digests[0] == digests[1], "resumes": digests[0] == digests[2]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps; fp32 and bf16 only")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a GPU, and PyTorch finds none")
    variants = [(precision, compiled) for compiled in (False, True) for precision in ("fp32", "bf16")]
    result: dict = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "quick": options.quick}
    with tempfile.TemporaryDirectory() as name:
        make_store(Path(name))
        result["two_processes"] = two_processes(Path(name))
        print(result["two_processes"], file=sys.stderr, flush=True)
        for (precision, compiled), stage in itertools.product(variants[:2] if options.quick else variants, STAGES):
            if compiled and "sampled" in stage:
                continue  # compiling concerns the network, which is that of the stage before
            execution = ExecutionSettings(device="cuda", threads=4, precision=precision, compile=compiled)
            label = f"{stage}, {precision}{', compiled' if compiled else ''}"
            try:
                result[label] = measure(Path(name), stage, execution, 40 if options.quick else 80)
            except RuntimeError as error:  # the other variants are worth having
                result[label] = {"error": f"{type(error).__name__}: {error}"[:500]}
            print(label, result[label], file=sys.stderr, flush=True)
    print(json.dumps(result | {"identities": IDENTITIES}))


if __name__ == "__main__":
    main()
