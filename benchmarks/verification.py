"""k-fold accuracy with exact thresholds, against a grid of 400; scores of as many template pairs as IJB-C has.

The grid is the field's usual way: squared distances 0, 0.01, …, 3.99, fold by fold. The pairs of templates
are scored in a process of its own, whose peak memory includes the pairs and their scores.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "src")  # instead of this folder, whose statistics.py would hide Python's

import argparse  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402

from triplet_distillation.evaluation import verification  # noqa: E402

FOLDS, PAIRS, TEMPLATES, DIMENSIONS = 10, 6000, 23_124, 512
THRESHOLDS = np.arange(400) / 100

TEMPLATE_PAIRS = """
import json, sys, time
sys.path.insert(0, sys.argv[4])
import numpy as np
from triplet_distillation.evaluation.verification import cosine_similarities

count, pairs, dimensions = map(int, sys.argv[1:4])
random = np.random.default_rng(0)
embeddings = random.standard_normal((count, dimensions), np.float32)
embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
numbers = np.sort(random.choice(10 * count, count, replace=False))
left, right = (numbers[random.integers(0, count, pairs)] for _ in range(2))
start = time.perf_counter()
scores = cosine_similarities(embeddings, np.searchsorted(numbers, left), np.searchsorted(numbers, right))
seconds = time.perf_counter() - start
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
measured = {"template_pairs_per_second": pairs / seconds, "template_seconds": seconds, "template_pairs": pairs}
print(json.dumps(measured | {"template_peak_mib": peak}))
"""


def make_pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared distances [PAIRS] in LFW's range, which pairs are genuine, and their folds."""
    random = np.random.default_rng(0)
    same = random.permutation(PAIRS) % 2 == 0
    return np.clip(random.normal(np.where(same, 1.1, 1.9), 0.25), 0, 3.99), same, np.arange(PAIRS) * FOLDS // PAIRS


def grid_accuracy(threshold: float, distances: np.ndarray, same: np.ndarray) -> float:
    """Accuracy when a squared distance below ``threshold`` means same.

    It is computed from the four counts, as evaluations descended from FaceNet's do for every threshold; the true and
    false accept rates that they also compute are left out.
    """
    accepted = distances < threshold
    true_accepts = np.sum(np.logical_and(accepted, same))
    false_accepts = np.sum(np.logical_and(accepted, np.logical_not(same)))
    true_rejects = np.sum(np.logical_and(np.logical_not(accepted), np.logical_not(same)))
    false_rejects = np.sum(np.logical_and(np.logical_not(accepted), same))
    return (true_accepts + true_rejects) / (true_accepts + false_accepts + true_rejects + false_rejects)


def grid_k_fold_accuracy(distances: np.ndarray, same: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Accuracy per fold, [folds], at the first of the best of 400 thresholds on the other folds."""
    accuracies = []
    for fold in range(FOLDS):
        inside = folds == fold
        others = distances[~inside], same[~inside]
        best = np.argmax([grid_accuracy(threshold, *others) for threshold in THRESHOLDS])
        accuracies.append(grid_accuracy(THRESHOLDS[best], distances[inside], same[inside]))
    return np.array(accuracies)


def timed(function, *arguments) -> tuple[float, object]:
    """Seconds and result of a call."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def measure_k_fold_accuracy(rounds: int) -> dict:
    """Medians over ``rounds`` in which the two methods take turns, and their mean accuracies."""
    distances, same, folds = make_pairs()
    seconds = []
    for _ in range(rounds):
        ours, exact = timed(verification.k_fold_accuracy, -distances, same, folds)
        peer, grid = timed(grid_k_fold_accuracy, distances, same, folds)
        seconds.append((ours, peer))
    return {
        "seconds": statistics.median(ours for ours, _ in seconds),
        "peer_seconds": statistics.median(peer for _, peer in seconds),
        "ratio": statistics.median(peer / ours for ours, peer in seconds),
        "accuracy": float(exact.accuracies.mean()),
        "peer_accuracy": float(grid.mean()),
    }


def measure_template_pairs(pairs: int) -> dict:
    """What :data:`TEMPLATE_PAIRS` prints."""
    arguments = [*map(str, (TEMPLATES, pairs, DIMENSIONS)), str(ROOT / "src")]
    command = [sys.executable, "-c", TEMPLATE_PAIRS, *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="takes less than a minute, with fewer template pairs")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--pairs", type=int, default=15_600_000, help="pairs of templates")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.pairs = 9, 2_000_000
    result = measure_k_fold_accuracy(options.rounds) | measure_template_pairs(options.pairs)
    print(json.dumps(result | {"templates": TEMPLATES}))


if __name__ == "__main__":
    main()
