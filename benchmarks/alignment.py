"""Speed of alignment, from image files to stored faces, against the mtcnn package's own batch call.

Ours is the whole stage, from reading files to the stored face, with one single-threaded
process per core, as the workflow runs its shards. The peer is detection alone, on images
that are already decoded, in batches of 64, with all cores.

Agreement is measured against the package's call for a single image: its batch call sorts
the boxes of all images together, so that the order of equal scores depends on the batch.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "src")  # instead of this folder, whose statistics.py would hide Python's

import argparse  # noqa: E402
import json  # noqa: E402
import multiprocessing  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import tarfile  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402

from triplet_distillation.faces import align  # noqa: E402
from triplet_distillation.faces.detectors.mtcnn import MTCNNDetector  # noqa: E402
from triplet_distillation.faces.detectors.mtcnn_package import MTCNNPackageDetector  # noqa: E402
from triplet_distillation.faces.images import read_image  # noqa: E402
from triplet_distillation.faces.sources import SourceImage  # noqa: E402

PEER_BATCH = 64


def extract(archive: Path, folder: Path, count: int | None) -> list[SourceImage]:
    """The first ``count`` images of LFW (None means all), as files below ``folder``."""
    images = []
    with tarfile.open(archive, "r|*") as opened:
        for member in opened:
            if member.name.endswith(".jpg"):
                opened.extract(member, folder, filter="data")
                images.append(SourceImage(member.name, Path(member.name).parent.name))
                if len(images) == count:
                    break
    return images


def align_shard(arguments: tuple) -> tuple[int, int]:
    """Number of stored faces, and the peak memory of the process in KiB."""
    images, folder, shard, batch_size = arguments
    labels = {name: label for label, name in enumerate(dict.fromkeys(p.identity for p in images))}
    settings = {"detector": "mtcnn", "batch_size": batch_size, "shards": 1}
    outcomes = align.build_store(images, labels, folder, settings, {}, Path(folder) / f"{shard}.arrow")
    return len(outcomes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def ours(pool, images: list[SourceImage], folder: Path, batch_size: int) -> tuple[float, float]:
    """Images per second, and the total peak memory of all processes in MiB."""
    parts = np.array_split(np.arange(len(images)), pool._processes)
    tasks = [([images[i] for i in part], str(folder), shard, batch_size) for shard, part in enumerate(parts)]
    start = time.perf_counter()
    results = pool.map(align_shard, tasks, chunksize=1)
    return len(images) / (time.perf_counter() - start), sum(peak for _, peak in results) / 1024


def peer(detector, images: list[np.ndarray]) -> float:
    """Images per second of the package's batch call."""
    start = time.perf_counter()
    for first in range(0, len(images), PEER_BATCH):
        detector.detect_faces(images[first : first + PEER_BATCH])
    return len(images) / (time.perf_counter() - start)


def agreement(images: list[np.ndarray], package) -> tuple[float, float]:
    """Fractions of images with the same number of detections, and with all landmarks within a pixel."""
    same, close = [], []
    for found, expected in zip(MTCNNDetector().detect(images), package.detect(images)):
        same.append(len(found) == len(expected))
        close.append(same[-1] and all(np.abs(a.landmarks - b.landmarks).max() <= 1 for a, b in zip(found, expected)))
    return float(np.mean(same)), float(np.mean(close))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="takes less than a minute")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, alternating between ours and the peer")
    parser.add_argument("--images", type=int, default=512, help="images per round")
    parser.add_argument("--agreement", type=int, default=1000, help="images on which detections are compared")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--all", action="store_true", help="also run ours once on all of LFW")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.images, options.agreement = 2, 128, 64
    data = Path(os.environ.get("TRIPLET_DISTILLATION_DATASETS", ROOT.parent / "shared" / "datasets"))
    archive = data / "lfw" / "lfw-deepfunneled.tgz"
    processes = os.cpu_count()
    pool = multiprocessing.get_context("spawn").Pool(processes)
    with tempfile.TemporaryDirectory() as folder, pool:
        images = extract(archive, Path(folder), None if options.all else max(options.images, options.agreement))
        some = images[: options.images]
        ours(pool, some[: 8 * processes], Path(folder), options.batch_size)  # imports and warm-up
        package = MTCNNPackageDetector()
        decoded = [read_image(Path(folder) / each.path) for each in some]
        peer(package._detector, decoded[:PEER_BATCH])
        rounds = [
            (ours(pool, some, Path(folder), options.batch_size), peer(package._detector, decoded))
            for _ in range(options.rounds)
        ]
        result = {
            "images_per_second": statistics.median(rate for (rate, _), _ in rounds),
            "peer_images_per_second": statistics.median(rate for _, rate in rounds),
            "ratio": statistics.median(rate / peer_rate for (rate, _), peer_rate in rounds),
            "ratios": [round(rate / peer_rate, 2) for (rate, _), peer_rate in rounds],
            "peak_mib": max(peak for (_, peak), _ in rounds),
            "processes": processes,
            "images": len(some),
        }
        compared = [read_image(Path(folder) / each.path) for each in images[: options.agreement]]
        result["same_detections"], result["landmarks_within_1px"] = agreement(compared, package)
        result["compared"] = len(compared)
        if options.all:
            result["all_images_per_second"], result["peak_mib"] = ours(pool, images, Path(folder), options.batch_size)
            result["all_images"] = len(images)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
