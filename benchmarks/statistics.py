"""What intervals and verdicts are worth: coverage, false verdicts and power in simulated studies.

The functions of ``evaluation/significance.py`` judge studies whose truth is known (``simulation.py``):

- coverage: the share of 95% intervals that contain the true difference of two models, in accuracy, AUC and TAR, with
  a fixed test set, with rounds that test other people, and with several runs per round; for each source of
  variance that can dominate. Likewise for one model's accuracy near 99%;
- false verdicts without a true difference: of one comparison, and of each and of any comparison in a family of three,
  or nine, that is corrected by Holm's method;
- power at two effect sizes, on a fixed test set.

Where the composition of the training set dominates, no estimator sees all of the variance (Bengio and
Grandvalet 2004): those designs are reported, and nothing is required of them.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path[0] = str(FOLDER.parent / "src")  # instead of this folder: this file would hide Python's module statistics
sys.path.append(str(FOLDER))

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from concurrent.futures import ProcessPoolExecutor  # noqa: E402

import numpy as np  # noqa: E402
from simulation import BALANCED, DOMINANT, Design, Sources, judge_studies, rate_coverage, true_difference  # noqa: E402

COVERAGE, FALSE_VERDICTS, FALSE_VERDICTS_ON_AVERAGE = 0.91, 0.09, 0.05
MODELS = 4
FIXED = [(12, 45, 3), (12, 45, 5), (40, 20, 3), (40, 20, 5), (40, 20, 8), (200, 10, 3), (200, 10, 5), (200, 10, 8)]
FIXED += [(1500, 2, 3), (1500, 2, 5), (4000, 1, 3)]
"""People, genuine pairs of each, runs."""
ROUNDS = [(12, 45, 3), (40, 40, 3), (40, 40, 4), (40, 40, 8), (400, 10, 5), (4000, 2, 5)]
"""People, genuine pairs of each, rounds."""
BOTH = [(40, 40, 4, 3), (40, 40, 8, 3), (400, 10, 5, 3), (400, 10, 3, 5), (4000, 1, 5, 3)]
"""People, genuine pairs of each, rounds, runs in each."""
QUICK = {(12, 45, 3), (40, 20, 5), (200, 10, 3), (40, 40, 4), (400, 10, 5), (40, 40, 4, 3)}
POWER = [(40, 20, 5, 0.45, 0.96), (200, 10, 5, 0.78, 1.0), (200, 10, 3, 0.49, 0.90), (1500, 2, 5, 0.84, 1.0)]
"""People, genuine pairs of each, runs, required power at either effect size."""
EFFECTS = (0.25, 0.5)
UNREQUIRED = "training set"
NEAR_ONE = 2.4
"""Mean of the latent that gives an accuracy of about 99%."""


def no_difference(quick: bool) -> dict[str, Design]:
    """Designs in which no model is better, by what they are."""

    def wanted(sizes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        return [each for each in sizes if not quick or each in QUICK]

    found = {}
    for name, sources in DOMINANT.items():
        if name != UNREQUIRED:  # a fixed test set has one training set
            for people, genuine, runs in wanted(FIXED):
                label = f"fixed, {people} people, {runs} runs, {name}"
                found[label] = Design(people, genuine, runs, sources, models=MODELS)
        for people, genuine, rounds in wanted(ROUNDS):
            label = f"rounds, {people} people, {rounds} rounds, {name}"
            found[label] = Design(people, genuine, 1, sources, rounds, MODELS)
        for people, genuine, rounds, runs in wanted(BOTH):
            label = f"both, {people} people, {rounds} rounds x {runs} runs, {name}"
            found[label] = Design(people, genuine, runs, sources, rounds, MODELS)
    for runs in (5,) if quick else (3, 4, 5, 8):
        label = f"nine claims, 200 people, {runs} runs, run"
        found[label] = Design(200, 10, runs, DOMINANT["run"], models=10)
    return found | other_metrics(quick)


def other_metrics(quick: bool) -> dict[str, Design]:
    """AUC and TAR instead of accuracy, with no better model."""
    found = {}
    for name in ("people", "run", "run x people"):
        for metric in ("auc", "tar"):
            for people, genuine, runs in [(200, 10, 3)] if quick else [(40, 20, 5), (200, 10, 3), (1500, 2, 5)]:
                label = f"{metric}, fixed, {people} people, {runs} runs, {name}"
                found[label] = Design(people, genuine, runs, DOMINANT[name], models=MODELS, metric=metric)
            if not quick:
                label = f"{metric}, rounds, 400 people, 5 rounds, {name}"
                found[label] = Design(400, 10, 1, DOMINANT[name], 5, MODELS, metric=metric)
    return found


def single_models(quick: bool) -> dict[str, Design]:
    """Designs for the accuracy of one model near 99%; one run cannot show the variance between runs, so has none."""
    found = {}
    for people, genuine in [(40, 20), (200, 10)] if quick else [(40, 20), (200, 10), (1500, 2)]:
        for runs, sources in ((1, Sources(BALANCED.model_person, 0.2, 0.0)), (5, BALANCED)):
            label = f"accuracy near 99%, fixed, {people} people, {runs} run{'s' * (runs > 1)}"
            found[label] = Design(people, genuine, runs, sources, models=1, mean=NEAR_ONE)
    found["accuracy near 99%, rounds, 40 people, 4 rounds"] = Design(40, 20, 1, BALANCED, 4, 1, mean=NEAR_ONE)
    return found


def powers(quick: bool) -> dict[str, tuple[Design, float]]:
    """Designs in which the first model is better, with the required share of verdicts."""
    found = {}
    for people, genuine, runs, *required in POWER[:2] if quick else POWER:
        for effect, share in zip(EFFECTS, required):
            label = f"fixed, {people} people, {runs} runs, effect {effect:g}"
            found[label] = Design(people, genuine, runs, BALANCED, effect=effect), share
    return found


def measure(task: tuple[str, str, Design, int, int]) -> tuple[str, str, dict[str, float]]:
    """Simulate the studies of one design."""
    kind, name, design, studies, seed = task
    if kind == "rate":
        return kind, name, {"coverage": rate_coverage(design, studies, seed)}
    outcomes = judge_studies(design, studies, seed)
    found = {
        "coverage": float(np.mean([each.covered for each in outcomes])),
        "verdicts": float(np.mean([each.wrong for each in outcomes])),
        "verdicts_corrected": float(np.mean([each.wrong_corrected for each in outcomes])),
        "families_with_verdict": float(np.mean([any(each.wrong_corrected) for each in outcomes])),
        "half_width": float(np.mean([each.half_width for each in outcomes])),
        "difference": float(np.mean([each.difference for each in outcomes])),
    }
    return kind, name, found


def make_tasks(quick: bool, studies: int) -> list[tuple[str, str, Design, int, int]]:
    """All designs, those first that take long; each has a seed of its own that does not depend on the others."""
    designs = [("difference", name, design) for name, design in no_difference(quick).items()]
    designs += [("rate", name, design) for name, design in single_models(quick).items()]
    designs += [("power", name, design) for name, (design, _) in powers(quick).items()]

    def work(task: tuple[str, str, Design]) -> int:
        design = task[2]
        return design.people * design.genuine * design.runs * design.models

    designs.sort(key=work, reverse=True)
    return [(*each, studies, int.from_bytes(each[1].encode())) for each in designs]


def error(share: float, studies: int) -> float:
    """Two standard errors of a share that was found in simulated studies."""
    return 2 * (share * (1 - share) / studies) ** 0.5


def summarize(measured: dict[str, dict[str, dict[str, float]]], quick: bool, studies: int) -> dict:
    """All shares, and which of them miss what is required by more than two standard errors of the simulation."""
    nothing = measured["difference"]
    coverage = {name: found["coverage"] for kind in ("difference", "rate") for name, found in measured[kind].items()}
    coverage |= {name: found["coverage"] for name, found in measured["power"].items()}
    false_verdicts = {f"{name}, one comparison": found["verdicts"] for name, found in nothing.items()}
    false_verdicts |= {f"{name}, each of a family": found["verdicts_corrected"] for name, found in nothing.items()}
    power = {}
    for name, (design, required) in powers(quick).items():
        true = true_difference(design)
        power[name] = {"difference": true, "found": measured["power"][name]["verdicts"], "required": required}

    def required_of(shares: dict[str, float]) -> dict[str, float]:
        return {name: share for name, share in shares.items() if UNREQUIRED not in name}

    low = COVERAGE - error(COVERAGE, studies)
    high = FALSE_VERDICTS + error(FALSE_VERDICTS, studies)
    on_average = float(np.mean(list(required_of(false_verdicts).values())))
    failures = [f"coverage: {name}" for name, share in required_of(coverage).items() if share < low]
    failures += [f"false verdicts: {name}" for name, share in required_of(false_verdicts).items() if share > high]
    failures += ["false verdicts on average"] * (on_average > FALSE_VERDICTS_ON_AVERAGE)
    for name, each in power.items():
        if each["found"] < each["required"] - error(min(each["required"], 0.99), studies):
            failures.append(f"power: {name}")
    return {
        "quick": quick,
        "studies": studies,
        "coverage": coverage,
        "false_verdicts": false_verdicts,
        "false_verdicts_on_average": on_average,
        "families_with_false_verdict": {name: found["families_with_verdict"] for name, found in nothing.items()},
        "power": power,
        "half_width": {name: found["half_width"] for name, found in nothing.items()},
        "unrequired": [name for name in coverage if UNREQUIRED in name],
        "failures": failures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="150 studies of fewer designs: less than a minute")
    parser.add_argument("--studies", type=int, help="simulated studies per design (default: 2000)")
    options = parser.parse_args()
    studies = options.studies or (150 if options.quick else 2000)
    start = time.perf_counter()
    measured: dict[str, dict[str, dict[str, float]]] = {"difference": {}, "rate": {}, "power": {}}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for kind, name, found in pool.map(measure, make_tasks(options.quick, studies)):
            measured[kind][name] = found
            shares = [f"{key} {100 * share:.1f}%" for key, share in found.items()]
            print(f"{name}: {', '.join(shares)}", file=sys.stderr, flush=True)
    result = summarize(measured, options.quick, studies) | {"seconds": time.perf_counter() - start}
    for failure in result["failures"]:
        print(f"missed: {failure}", file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
