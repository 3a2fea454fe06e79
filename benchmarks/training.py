"""Speed of training and embedding, against a plain PyTorch loop, and the cost of the teacher.

- A training step of the student (batch sizes 60 and 180) and of the default study's teacher network
  (60), and embedding 64 images with the student: ours against a plain eager, contiguous loop.
- A step of triplet distillation against one of the fixed-margin triplet loss (10 × 18 images), and
  against one that runs the teacher, IResNet-100, on the same images.
- The loader alone against training.
- ArcFace over 85,742 classes at batch size 480: time and peak memory, with all classes and with a
  sampled tenth of them.
- Whether our fast PReLU and the kept memory give the same bits as PyTorch's PReLU without it.
- What ``execution.portable`` costs: a step of student and teacher with the kernels that every CPU runs
  against one with this CPU's fastest.

Everything is eager. Every variant has a process of its own, so that the plain loop has PyTorch and
the C library as they come; variants alternate, and results are medians of pairs. The faces are noise,
stored as PNG of a realistic size.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "src")  # instead of this folder, whose statistics.py would hide Python's

import argparse  # noqa: E402
import hashlib  # noqa: E402
import json  # noqa: E402
import multiprocessing  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from triplet_distillation import portable, registry  # noqa: E402
from triplet_distillation.evaluation.embed import embed_images  # noqa: E402
from triplet_distillation.faces import store  # noqa: E402
from triplet_distillation.losses import LossContext, Step  # noqa: E402
from triplet_distillation.networks import weights  # noqa: E402
from triplet_distillation.networks.execution import setup_device  # noqa: E402
from triplet_distillation.networks.prelu import PReLU  # noqa: E402
from triplet_distillation.settings import ExecutionSettings, TrainingSettings  # noqa: E402
from triplet_distillation.training import engine, sampling  # noqa: E402
from triplet_distillation.training.batches import BatchDataset, TrainingFaces  # noqa: E402
from triplet_distillation.training.distributed import DistributedContext  # noqa: E402
from triplet_distillation.training.optimizer import SparseSGD  # noqa: E402

STUDENT = {"architecture": "mobilefacenet", "stem": 32, "stages": [40, 96, 96, 96, 96], "last_channels": 448}
SMALL_TEACHER = {"architecture": "iresnet", "depth": 18, "width": 0.25, "dropout": 0.0}
TEACHER = {"architecture": "iresnet", "depth": 100}
IDENTITIES, IMAGES = 40, 20
CPU = torch.device("cpu")
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
CONTEXT = multiprocessing.get_context("spawn")


def make_store(folder: Path) -> None:
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


def make_batches(folder: Path, kind: dict, with_teacher: bool = False) -> BatchDataset:
    labels = np.repeat(np.arange(IDENTITIES), IMAGES)
    settings = TrainingSettings.from_dict(SETTINGS | {"sampling": kind})
    teachers = (str(folder / "teacher.npy"),) if with_teacher else ()
    faces = TrainingFaces(str(folder / "store.arrow"), np.arange(len(labels)), labels, teachers)
    return BatchDataset(faces, sampling.create_sampler(settings.sampling, labels, 0), settings, 0)


def uniform(size: int) -> dict:
    return {"kind": "uniform", "batch_size": size}


def make_loss(name: str, network, **settings) -> nn.Module:
    context = LossContext(IDENTITIES, network.embedding_size, min_margin=0.2, max_margin=0.5)
    return registry.load("losses", name)(context, **settings)


def use_plain_prelu() -> None:
    PReLU.forward = nn.PReLU.forward


class PlainTraining:
    """A straightforward loop: eager, contiguous, PyTorch's PReLU, loading in the same process."""

    def __init__(self, folder: Path, network: dict, size: int):
        use_plain_prelu()
        torch.manual_seed(0)
        self.network = weights.create(network).train()
        self.criterion = make_loss("arcface", self.network)
        parameters = [*self.network.parameters(), *self.criterion.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=0.001, momentum=0.9, weight_decay=5e-4)
        self.batches = iter(DataLoader(make_batches(folder, uniform(size)), batch_size=None))

    def step(self) -> float:
        batch = next(self.batches)
        images = weights.normalize_pixels(batch.images.contiguous())
        loss, _ = self.criterion(self.network(images), Step(batch.labels, torch.Generator()))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class OurTraining:
    """The engine's own step with a method; ``teacher`` is a network that also runs on the images of every batch."""

    keep_memory = True

    def __init__(self, folder: Path, network: dict, kind: dict, loss: str, teacher: dict | None = None, **settings):
        setup_device(ExecutionSettings(threads=torch.get_num_threads(), keep_memory=self.keep_memory))
        torch.manual_seed(0)
        created = weights.create(network)
        batches = make_batches(folder, kind, with_teacher=loss == "triplet_distillation")
        dist, execution = DistributedContext(), ExecutionSettings()
        self.context = engine.TrainContext(batches.settings, execution, 0, CPU, dist, folder / "unused", "")
        self.state = engine.build_state(created, make_loss(loss, created, **settings), self.context)
        self.batches = iter(DataLoader(batches, batch_size=None))
        self.teacher = weights.create(teacher).eval().to(memory_format=torch.channels_last) if teacher else None
        self.next_step = 0

    def step(self) -> float:
        batch = next(self.batches)
        if self.teacher:
            with torch.inference_mode():
                images = weights.normalize_pixels(batch.images)
                batch = batch._replace(teachers=(functional.normalize(self.teacher(images)).clone(),))
        record = engine.train_step(self.state, self.context, batch, self.next_step)
        self.next_step += 1
        return float(record["loss"])


class ReferenceTraining(OurTraining):
    """The engine's own step with PyTorch's PReLU, and with the C library as it comes."""

    keep_memory = False

    def __init__(self, *arguments, **settings):
        use_plain_prelu()
        super().__init__(*arguments, **settings)


class PlainEmbedding:
    """The student in evaluation mode, contiguous, on faces and their flipped copies."""

    def __init__(self, folder: Path, size: int):
        torch.manual_seed(0)
        self.network = weights.create(STUDENT).eval()
        faces = store.FaceStore(folder / "store.arrow")
        self.images = np.stack([faces.image(row) for row in range(size)])

    @torch.no_grad()
    def step(self) -> str:
        both = np.concatenate([self.images, self.images[:, :, ::-1]])
        pixels = torch.from_numpy(both).permute(0, 3, 1, 2).contiguous()
        embeddings = functional.normalize(self.network(weights.normalize_pixels(pixels)))
        return hashlib.sha256(embeddings.numpy().tobytes()).hexdigest()


class OurEmbedding(PlainEmbedding):
    """The same with the library's own function."""

    def __init__(self, folder: Path, size: int):
        setup_device(ExecutionSettings(threads=torch.get_num_threads()))
        super().__init__(folder, size)
        self.network = self.network.to(memory_format=torch.channels_last)

    def step(self) -> str:
        return hashlib.sha256(embed_images(self.network, self.images, CPU).tobytes()).hexdigest()


def serve(connection, kind: str, threads: int, arguments: tuple, settings: dict) -> None:
    """In a process of its own: create a variant, then answer every request with the seconds and result of a step."""
    torch.set_num_threads(threads)
    variant = globals()[kind](*arguments, **settings)
    while connection.recv():
        start = time.perf_counter()
        result = variant.step()
        connection.send((time.perf_counter() - start, result))


class Remote:
    """A variant in a process of its own, with this process's kernels."""

    def __init__(self, kind: type, *arguments, **settings):
        self.connection, other = CONTEXT.Pipe()
        target = (other, kind.__name__, torch.get_num_threads(), arguments, settings)
        self.process = CONTEXT.Process(target=serve, args=target, daemon=True)
        self.process.start()

    @classmethod
    def portable(cls, kind: type, *arguments, **settings) -> "Remote":
        """The same with the kernels that every CPU runs."""
        environment = dict(os.environ)
        portable.replace_environment(portable.portable_environment(environment))
        try:
            return cls(kind, *arguments, **settings)
        finally:
            portable.replace_environment(environment)

    def step(self) -> tuple[float, float | str]:
        """Seconds and result of the variant's next step."""
        self.connection.send(True)
        return self.connection.recv()

    def close(self) -> None:
        self.connection.send(False)
        self.process.join()


def alternate(variants: dict[str, Remote], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds of ``rounds`` alternating steps of each variant, after ``warm_up`` uncounted ones."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(warm_up + rounds):
        for name, variant in variants.items():
            taken, _ = variant.step()
            if number >= warm_up:
                seconds[name].append(taken)
    for variant in variants.values():
        variant.close()
    return seconds


def ratio(seconds: dict[str, list[float]], slower: str, faster: str) -> float:
    """Median over the rounds of how many times as long ``slower`` took."""
    return statistics.median(a / b for a, b in zip(seconds[slower], seconds[faster]))


def against_plain(folder: Path, network: dict, size: int, rounds: int) -> dict[str, float]:
    """A training step of ArcFace: the plain loop against ours."""
    plain = Remote(PlainTraining, folder, network, size)
    ours = Remote(OurTraining, folder, network, uniform(size), "arcface")
    seconds = alternate({"plain": plain, "ours": ours}, rounds)
    return {"ratio": ratio(seconds, "plain", "ours"), "seconds": statistics.median(seconds["ours"])}


def portable_cost(folder: Path, network: dict, size: int, rounds: int) -> float:
    """How many times as long a step takes with ``execution.portable``."""
    arguments = (folder, network, uniform(size), "arcface")
    variants = {"portable": Remote.portable(OurTraining, *arguments), "native": Remote(OurTraining, *arguments)}
    return ratio(alternate(variants, rounds), "portable", "native")


def embedding_ratio(folder: Path, size: int, rounds: int) -> float:
    """Embedding: the plain way against ours."""
    variants = {"plain": Remote(PlainEmbedding, folder, size), "ours": Remote(OurEmbedding, folder, size)}
    return ratio(alternate(variants, rounds), "plain", "ours")


def teacher_cost(folder: Path, rounds: int, quick: bool) -> dict[str, float]:
    """Steps of 10 × 18 images (3 × 4 if quick): fixed margin, distilled, with IResNet-100 in the loop."""
    kind = {"kind": "pk", "p": 3 if quick else 10, "k": 4 if quick else 18}
    fixed = Remote(OurTraining, folder, STUDENT, kind, "triplet", margin=0.4)
    distilled = Remote(OurTraining, folder, STUDENT, kind, "triplet_distillation")
    seconds = alternate({"fixed": fixed, "distilled": distilled}, 3 * rounds)
    cached = Remote(OurTraining, folder, STUDENT, kind, "triplet_distillation")
    in_loop = Remote(OurTraining, folder, STUDENT, kind, "triplet_distillation", teacher=TEACHER)
    with_teacher = alternate({"cached": cached, "in_loop": in_loop}, max(2, rounds // 2), warm_up=1)
    return {
        "distillation_over_triplet": ratio(seconds, "distilled", "fixed"),
        "teacher_in_loop_over_distillation": ratio(with_teacher, "in_loop", "cached"),
    }


def same_bits(folder: Path, steps: int) -> bool:
    """Losses of training steps and embeddings: with our PReLU and kept memory, and without."""
    found = []
    for kind in (OurTraining, ReferenceTraining):
        for network in (STUDENT, SMALL_TEACHER):
            variant = Remote(kind, folder, network, uniform(24), "arcface")
            found.append([variant.step()[1] for _ in range(steps)])
            variant.close()
    return found[:2] == found[2:]


def loader_rate(folder: Path, size: int, rounds: int) -> float:
    """Images per second of the loader alone."""
    batches = make_batches(folder, uniform(size))
    seconds = []
    for step in range(rounds):
        start = time.perf_counter()
        batches[step]
        seconds.append(time.perf_counter() - start)
    return size / statistics.median(seconds)


def classify(sample_rate: float, rounds: int, classes: int, batch: int, connection) -> None:
    """Send the median seconds of an ArcFace step, and its additional peak memory in MiB."""
    torch.set_num_threads(os.cpu_count() or 1)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    torch.manual_seed(0)
    context = LossContext(num_identities=classes, embedding_size=128)
    criterion = registry.load("losses", "arcface")(context, sample_rate=sample_rate)
    optimizer = SparseSGD(criterion.parameters(), lr=0.1, momentum=0.9)
    embeddings = torch.randn(batch, 128, requires_grad=True)
    seconds = []
    for step in range(rounds):
        labels = torch.randint(classes, (batch,))
        start = time.perf_counter()
        loss, _ = criterion(embeddings, Step(labels, torch.Generator().manual_seed(step)))
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
    found = {}
    for name, sample_rate in (("all_classes", 1.0), ("sampled_tenth", 0.1)):
        receiving, sending = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=classify, args=(sample_rate, rounds, classes, batch, sending))
        process.start()
        found[f"{name}_seconds"], found[f"{name}_peak_mib"] = receiving.recv()
        process.join()
    return found | {"sampled_memory_share": found["sampled_tenth_peak_mib"] / found["all_classes_peak_mib"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="takes about a minute: small batches, few rounds")
    parser.add_argument("--rounds", type=int, default=5, help="number of steps of each variant")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    quick, rounds = options.quick, 2 if options.quick else options.rounds
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_store(folder)
        sizes = {60: 12, 180: 24} if quick else {60: 60, 180: 180}
        students = {size: against_plain(folder, STUDENT, real, rounds) for size, real in sizes.items()}
        result = {f"ratio_{size}": found["ratio"] for size, found in students.items()}
        result["teacher_ratio"] = against_plain(folder, SMALL_TEACHER, sizes[60], rounds)["ratio"]
        result["embedding_ratio"] = embedding_ratio(folder, 16 if quick else 64, 3 * rounds)
        result |= teacher_cost(folder, rounds, quick)
        result["portable_cost_student"] = portable_cost(folder, STUDENT, sizes[60], rounds)
        result["portable_cost_teacher"] = portable_cost(folder, SMALL_TEACHER, sizes[60], rounds)
        result["same_bits"] = same_bits(folder, 2 if quick else 5)
        loading = loader_rate(folder, sizes[180], 20)
        training = max(sizes[size] / found["seconds"] for size, found in students.items())
        result |= {"loader_images_per_second": loading, "training_images_per_second": training}
        result["loader_over_training"] = loading / training
        result["arcface"] = classification(3 if quick else rounds, 85_742, 480)
    print(json.dumps(result | {"quick": quick, "threads": options.threads}))


if __name__ == "__main__":
    main()
