"""A/A: how often runs of one method, labelled as two methods, get a verdict.

The runs of a finished study are split in every way into two "methods" of equally many runs, which are paired in the
order of their seeds. Whatever is found is false. The splits are not independent of each other; 5% are expected.
``config/same_method.yaml`` is such a study on real faces: eight runs, 35 splits.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "src")  # instead of this folder, whose statistics.py would hide Python's

from triplet_distillation.evaluation import significance  # noqa: E402
from triplet_distillation.evaluation.significance import Run  # noqa: E402
from triplet_distillation.reporting.context import ReportContext  # noqa: E402
from triplet_distillation.reporting.runs import METRICS, Evaluations  # noqa: E402


def read_study(folder: Path) -> Evaluations:
    """The evaluations of a study with one round."""
    evaluation = folder / "evaluation"
    paths = {
        model: {
            int(path.parent.name.removeprefix("seed")): str(path)
            for path in sorted((evaluation / model).glob("seed*/scores.parquet"))
        }
        for model in ["student", *(f"students/{each.name}" for each in sorted((evaluation / "students").iterdir()))]
    }
    seeds = sorted(next(iter(paths.values())))
    benchmarks = [path.stem for path in (folder / "split/round0/pairs").glob("*.parquet")]
    context = ReportContext(
        labels={model: model for model in paths},
        benchmarks={name: name for name in benchmarks},
        seeds=seeds,
        runs=dict.fromkeys(paths, seeds),
        weights=dict.fromkeys(paths, seeds),
        rounds=[0] * len(seeds),
        test_groups={name: [0] * len(seeds) for name in benchmarks},
        far=dict.fromkeys(benchmarks),
        flip="",
    )
    return Evaluations(paths, [str(folder / "split/round0/training_set.parquet")], context)


def splits(runs: list[Run]) -> list[list[Run]]:
    """Differences between two halves of the runs, paired in their order, for every way to halve them."""
    everything = range(len(runs))
    halves = [half for half in itertools.combinations(everything, len(runs) // 2) if 0 in half]
    return [
        [runs[a].minus(runs[b]) for a, b in zip(half, (each for each in everything if each not in half))]
        for half in halves
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study with an even number of runs in one round")
    study = read_study(parser.parse_args().study)
    verdicts, number = {}, 0
    for benchmark, model, metric in itertools.product(study.context.benchmarks, study.context.runs, METRICS):
        found = [significance.estimate(half) for half in splits(study.runs(model, benchmark, metric))]
        share = sum(significance.p_value(each) < significance.LEVEL for each in found) / len(found)
        verdicts[f"{benchmark}, {model}, {metric}"] = share
        number = len(found)
    print(json.dumps({"false_verdicts": verdicts, "splits": number, "runs": len(study.context.seeds)}))


if __name__ == "__main__":
    main()
