"""Training on a GPU: speed, memory and determinism in every precision, compiled and not.

ArcFace with IResNet-100 (480 images, the paper's first stage), and triplet distillation with the slim student
(10 × 18 images, its second stage), each by the engine's own step with loader workers. Reported are images
per second (median over the steps), peak memory of the GPU, whether two trainings give the same weights, and whether one
that resumes from a checkpoint gives them, too. The faces are noise, stored as PNG of a realistic size.
"""

import argparse
import dataclasses
import gc
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "src")  # instead of this folder, whose statistics.py would hide Python's
sys.path.append(str(ROOT / "benchmarks"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from training import IDENTITIES, STUDENT, TEACHER, make_batches, make_loss, make_store, uniform  # noqa: E402

from triplet_distillation.networks import weights  # noqa: E402
from triplet_distillation.networks.execution import setup_device  # noqa: E402
from triplet_distillation.provenance import array_digest  # noqa: E402
from triplet_distillation.settings import ExecutionSettings  # noqa: E402
from triplet_distillation.training import engine, guards  # noqa: E402
from triplet_distillation.training.batches import BatchDataset  # noqa: E402
from triplet_distillation.training.distributed import DistributedContext  # noqa: E402

STAGES = {
    "arcface_iresnet100": (TEACHER, uniform(480), "arcface"),
    "distillation_slim": (STUDENT, {"kind": "pk", "p": 10, "k": 18}, "triplet_distillation"),
}


class Training:
    """One training on the GPU, with the engine's own functions."""

    def __init__(self, folder: Path, stage: str, execution: ExecutionSettings, iterations: int, checkpoints: Path):
        network, kind, loss = STAGES[stage]
        device = setup_device(execution)
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.manual_seed(0)
        self.network = weights.create(network)
        self.criterion = make_loss(loss, self.network)
        batches = make_batches(folder, kind, with_teacher=loss == "triplet_distillation")
        changed = {"schedule": "steps", "loader_workers": 8, "checkpoint_every": 10}  # a learning rate that is constant
        settings = dataclasses.replace(batches.settings, iterations=iterations, **changed)
        self.batches: BatchDataset = batches
        self.context = engine.TrainContext(settings, execution, 0, device, DistributedContext(), checkpoints, "")

    def measure(self, size: int) -> dict[str, float]:
        """Images per second without the first ten steps, and GiB at the peak and as estimated before."""
        precision = engine.PRECISIONS[self.context.execution.precision]
        device = self.context.device
        estimated = guards.estimated_memory(self.network, self.criterion, self.batches[0], device, precision)
        state = engine.build_state(self.network, self.criterion, self.context)
        steps = self.context.settings.iterations
        loader = DataLoader(self.batches, batch_size=None, sampler=range(steps), num_workers=8, pin_memory=True)
        start = time.perf_counter()
        ends = [start]
        for step, batch in enumerate(loader):
            engine.train_step(state, self.context, batch, step)
            ends.append(time.perf_counter())
        seconds = [after - before for before, after in itertools.pairwise(ends)]
        return {
            "images_per_second": size / float(np.median(seconds[10:])),
            "first_step_seconds": seconds[0],
            "peak_gib": torch.cuda.max_memory_reserved() / 2**30,
            "estimated_gib": estimated / 2**30,
        }

    def run(self) -> str:
        """Digest of the weights after a whole training."""
        engine.train(self.network, self.criterion, self.batches, self.context)
        return array_digest({name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()})


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
        for (precision, compiled), stage in itertools.product(variants[:2] if options.quick else variants, STAGES):
            execution = ExecutionSettings(device="cuda", threads=4, precision=precision, compile=compiled)
            label = f"{stage}, {precision}{', compiled' if compiled else ''}"
            try:
                result[label] = measure(Path(name), stage, execution, 15 if options.quick else 30)
            except RuntimeError as error:  # the other variants are worth having
                result[label] = {"error": f"{type(error).__name__}: {error}"[:500]}
            print(label, result[label], file=sys.stderr, flush=True)
    print(json.dumps(result | {"identities": IDENTITIES}))


if __name__ == "__main__":
    main()
