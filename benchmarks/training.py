"""Speed of training the student, the effect of each optimization, and the cost of the teacher.

- The engine's step (channels-last, compiled) against a plain eager contiguous loop, at batch sizes of 60
  and 180; also channels-last, compilation, a fused optimizer and a loader process, each alone.
- A step of triplet distillation against one of the fixed-margin triplet loss (10 × 18 images), and against
  one that runs the teacher, IResNet-100, on the same images.
- The loader alone against training.
- ArcFace over 85,742 classes at batch size 480: time and peak memory, with all classes and with a sampled
  tenth of them.

Variants alternate; results are medians. The faces are noise, stored as PNG of a realistic size.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from triplet_distillation import registry  # noqa: E402
from triplet_distillation.faces import store  # noqa: E402
from triplet_distillation.losses import LossContext  # noqa: E402
from triplet_distillation.networks import weights  # noqa: E402
from triplet_distillation.settings import ExecutionSettings, TrainingSettings  # noqa: E402
from triplet_distillation.training import engine, sampling  # noqa: E402
from triplet_distillation.training.batches import BatchDataset, TrainingFaces  # noqa: E402
from triplet_distillation.training.distributed import DistributedContext  # noqa: E402

STUDENT = {"architecture": "mobilefacenet", "stem": 32, "stages": [40, 96, 96, 96, 96], "last_channels": 448}
TEACHER = {"architecture": "iresnet", "depth": 100}
IDENTITIES, IMAGES = 40, 20
CPU = torch.device("cpu")
LOSS_CONTEXT = LossContext(num_identities=IDENTITIES, embedding_size=128, min_margin=0.2, max_margin=0.5)
SETTINGS = {
    "iterations": 1000,
    "learning_rate": 0.001,
    "schedule": "cosine",
    "warmup": 0,
    "milestones": [],
    "decay": 0.1,
    "reference_batch": 0,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "clip_norm": 0,
    "augmentation": {"flip": True, "shift": 0, "contrast": 0, "brightness": 0},
    "checkpoint_every": 1000,
    "loader_workers": 0,
}


def make_store(folder: Path) -> Path:
    """Smooth noise that compresses like faces: about 20 KB per image."""
    random = np.random.default_rng(0)

    def faces():
        for label in range(IDENTITIES):
            for index in range(IMAGES):
                noise = cv2.resize(random.integers(0, 256, (28, 28, 3)).astype(np.uint8), (112, 112))
                image = cv2.imencode(".png", noise)[1].tobytes()
                nothing = np.full(10, np.nan, np.float32)
                yield store.StoreRow(image, label, str(label), str(index), nothing, 1.0, store.ONE_FACE)

    store.write(folder / "store.arrow", faces(), {})
    embeddings = random.normal(size=(IDENTITIES * IMAGES, 2, 512)).astype(np.float32)
    np.save(folder / "teacher.npy", embeddings / np.linalg.norm(embeddings, axis=2, keepdims=True))
    return folder / "store.arrow"


def make_batches(path: Path, kind: dict, teacher: Path | None = None) -> BatchDataset:
    labels = np.repeat(np.arange(IDENTITIES), IMAGES)
    settings = TrainingSettings.from_dict(SETTINGS | {"sampling": kind})
    faces = TrainingFaces(str(path), np.arange(len(labels)), labels, None if teacher is None else str(teacher))
    return BatchDataset(faces, sampling.create_sampler(settings.sampling, labels, 0), settings, 0)


class Plain:
    """A straightforward loop: eager, contiguous, loading in the same process; each optimization can be added alone."""

    def __init__(self, batches, *, compiled=False, channels_last=False, fused=False, workers=0):
        torch.manual_seed(0)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = weights.create(STUDENT).train().to(memory_format=self.format)
        self.criterion = registry.load("losses", "arcface")(LOSS_CONTEXT)
        parameters = [*self.network.parameters(), *self.criterion.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=0.001, momentum=0.9, weight_decay=5e-4, fused=fused)
        if compiled:
            self.network.compile()
        self.batches = iter(DataLoader(batches, batch_size=None, num_workers=workers))

    def step(self) -> None:
        batch = next(self.batches)
        images = weights.normalize_pixels(batch.images).contiguous(memory_format=self.format)
        loss, _ = self.criterion(self.network(images), batch.labels, None, None)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        loss.item()


class Ours:
    """The engine's own step with a method; ``teacher`` is a network that also runs on the images of every batch."""

    def __init__(self, batches: BatchDataset, loss: str, *, compiled: bool, teacher=None, **loss_settings):
        torch.manual_seed(0)
        criterion = registry.load("losses", loss)(LOSS_CONTEXT, **loss_settings)
        execution = ExecutionSettings(compile=compiled)
        dist, nowhere = DistributedContext(), Path("unused")
        self.context = engine.TrainContext(batches.settings, execution, 0, CPU, dist, nowhere, "")
        self.state = engine.build_state(weights.create(STUDENT), criterion, self.context)
        self.batches = iter(DataLoader(batches, batch_size=None))
        self.teacher, self.next_step = teacher, 0

    def step(self) -> None:
        batch = next(self.batches)
        if self.teacher:
            with torch.inference_mode():
                images = weights.normalize_pixels(batch.images).contiguous(memory_format=torch.channels_last)
                batch = batch._replace(teacher=functional.normalize(self.teacher(images)).clone())
        engine.train_step(self.state, self.context, batch, self.next_step)
        self.next_step += 1


def alternate(variants: dict, rounds: int) -> dict[str, list[float]]:
    """Seconds of ``rounds`` alternating steps of each variant, after one uncounted step (which compiles)."""
    for variant in variants.values():
        variant.step()
    seconds = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            start = time.perf_counter()
            variant.step()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(each) for name, each in seconds.items()}


def throughput(path: Path, size: int, rounds: int, compiled: bool) -> dict[str, float]:
    """Speed relative to the plain loop: of each optimization alone, and of the engine."""
    batches = make_batches(path, {"kind": "uniform", "batch_size": size})
    variants = {
        "plain": Plain(batches),
        "channels_last": Plain(batches, channels_last=True),
        "fused_optimizer": Plain(batches, fused=True),
        "loader_process": Plain(batches, workers=1),
        "engine": Ours(batches, "arcface", compiled=compiled),
    }
    if compiled:
        variants["compiled"] = Plain(batches, compiled=True)
    found = medians(alternate(variants, rounds))
    return {"images_per_second": size / found["engine"]} | {
        name: found["plain"] / seconds for name, seconds in found.items() if name != "plain"
    }


def teacher_cost(path: Path, folder: Path, rounds: int, compiled: bool, quick: bool) -> dict[str, float]:
    """Steps of 10 × 18 images (3 × 4 if quick): fixed margin, distilled, with IResNet-100 in the loop."""
    kind = {"kind": "pk", "p": 3 if quick else 10, "k": 4 if quick else 18}
    with_cache = make_batches(path, kind, folder / "teacher.npy")
    variants = {
        "triplet": Ours(make_batches(path, kind), "triplet", compiled=compiled, margin=0.4),
        "distillation": Ours(with_cache, "triplet_distillation", compiled=compiled),
    }
    seconds = alternate(variants, 3 * rounds)
    found = medians(seconds)
    teacher = weights.create(TEACHER).eval().to(memory_format=torch.channels_last)
    running = {"teacher": Ours(with_cache, "triplet_distillation", compiled=compiled, teacher=teacher)}
    found |= medians(alternate(running, rounds))
    return {
        "distillation_over_triplet": statistics.median(
            distilled / fixed for fixed, distilled in zip(seconds["triplet"], seconds["distillation"])
        ),
        "teacher_in_loop_over_distillation": found["teacher"] / found["distillation"],
        "distillation_seconds": found["distillation"],
        "teacher_in_loop_seconds": found["teacher"],
    }


def loader_rate(path: Path, size: int, rounds: int) -> float:
    """Images per second of the loader alone."""
    batches = make_batches(path, {"kind": "uniform", "batch_size": size})
    seconds = []
    for step in range(rounds):
        start = time.perf_counter()
        batches[step]
        seconds.append(time.perf_counter() - start)
    return size / statistics.median(seconds)


def classify(sample_rate: float, rounds: int, classes: int, batch: int, connection) -> None:
    """Send the median seconds of an ArcFace step, and its additional peak memory in MiB."""
    torch.set_num_threads(os.cpu_count())
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    torch.manual_seed(0)
    context = LossContext(num_identities=classes, embedding_size=128)
    criterion = registry.load("losses", "arcface")(context, sample_rate=sample_rate)
    optimizer = torch.optim.SGD(criterion.parameters(), lr=0.1, momentum=0.9)
    embeddings = torch.randn(batch, 128, requires_grad=True)
    seconds = []
    for step in range(rounds):
        labels = torch.randint(classes, (batch,))
        start = time.perf_counter()
        loss, _ = criterion(embeddings, labels, None, torch.Generator().manual_seed(step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    connection.send((statistics.median(seconds), _memory("VmHWM") - before))


def _memory(kind: str) -> float:
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def classification(rounds: int, classes: int, batch: int) -> dict[str, float]:
    """Each in a process of its own, so that their peaks are separate."""
    context, found = multiprocessing.get_context("spawn"), {}
    for name, sample_rate in (("all_classes", 1.0), ("sampled_tenth", 0.1)):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=classify, args=(sample_rate, rounds, classes, batch, sending))
        process.start()
        found[f"{name}_seconds"], found[f"{name}_peak_mib"] = receiving.recv()
        process.join()
    return found | {"sampled_memory_share": found["sampled_tenth_peak_mib"] / found["all_classes_peak_mib"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="takes less than a minute: no compilation, small batches")
    parser.add_argument("--rounds", type=int, default=5, help="number of steps of each variant")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    quick = options.quick
    torch.set_num_threads(options.threads)
    sizes, rounds, compiled = ((12, 24), 3, False) if quick else ((60, 180), options.rounds, True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = make_store(folder)
        by_size = {str(size): throughput(path, size, rounds, compiled) for size in sizes}
        result = {f"ratio_{size}": found["engine"] for size, found in zip((60, 180), by_size.values())}
        result |= teacher_cost(path, folder, rounds, compiled, quick)
        loading = loader_rate(path, sizes[-1], 20)
        training = max(found["images_per_second"] for found in by_size.values())
        result |= {"loader_images_per_second": loading, "loader_over_training": loading / training}
        result["arcface"] = classification(rounds, 85_742, 480)
    result |= {"by_batch_size": by_size, "quick": quick, "compiled": compiled, "threads": options.threads}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
