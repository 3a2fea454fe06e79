"""A dry run of ten methods × five seeds × five benchmarks: how long planning takes, beside the default study's.

Each dry run is `snakemake -n --quiet rules` in a process of its own, from an empty folder, so that
every job has to run.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "src")  # instead of this folder, whose statistics.py would hide Python's

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

METHODS, SEEDS, BENCHMARKS = 10, 5, 5
STUDY = {
    "study": "planning",
    "seeds": list(range(SEEDS)),
    # The default study has five methods and a benchmark.
    "methods": {
        f"triplet_{number / 10}": {"loss": "triplet", "margin": number / 10} for number in range(6, METHODS + 1)
    },
    "benchmarks": {
        f"unseen_{seed}": {"dataset": "orl", "held_out": {"identities": 16, "folds": 4, "seed": seed}}
        for seed in range(1, BENCHMARKS)
    },
}


def dry_run(folder: Path, configuration: list[str]) -> tuple[float, int]:
    """Seconds of a dry run, and the number of jobs that it lists."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "-n", "--quiet", "rules"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    start = time.perf_counter()
    done = subprocess.run(
        [*command, *configuration],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.perf_counter() - start
    total = re.search(r"^total +(\d+)$", done.stdout, re.MULTILINE)
    if done.returncode or total is None:
        raise RuntimeError(f"the dry run failed:\n{done.stdout}")
    return seconds, int(total[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="run each once")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        overlay = Path(folder, "planning.yaml")
        overlay.write_text(json.dumps(STUDY))  # JSON is YAML
        results = {
            "": [dry_run(Path(folder), ["--configfile", str(overlay)]) for _ in range(rounds)],
            "default_": [dry_run(Path(folder), []) for _ in range(rounds)],
        }
    measured: dict[str, float] = {"methods": METHODS, "seeds": SEEDS, "benchmarks": BENCHMARKS, "rounds": rounds}
    for name, runs in results.items():
        measured[f"{name}seconds"] = statistics.median(seconds for seconds, _ in runs)
        measured[f"{name}jobs"] = runs[0][1]
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
