"""What tables and figures have in common: display names, and which runs belong together."""

from dataclasses import dataclass

METHOD_PREFIX = "students/"
"""Prefix of the models that the second stage trained."""
PERCENT = 100


@dataclass(frozen=True)
class ReportContext:
    """Names and runs of a study.

    Attributes:
        labels: model to display name.
        benchmarks: benchmark to display name.
        seeds: of the study's runs.
        runs: model to the evaluated run (a seed) that belongs to each of ``seeds``; runs may share a teacher.
        weights: model to the seed with which the weights of each of ``seeds`` were trained (or imported).
        rounds: the round of each of ``seeds``: runs of one round have the same training set.
        test_groups: benchmark to a number for each of ``seeds``; runs with the same one are tested on the same pairs.
        far: benchmark to the false accept rate of its metric, TAR at FAR; None if its metric is accuracy.
        flip: how an image and its flipped copy are fused.
    """

    labels: dict[str, str]
    benchmarks: dict[str, str]
    seeds: list[int]
    runs: dict[str, list[int]]
    weights: dict[str, list[int]]
    rounds: list[int]
    test_groups: dict[str, list[int]]
    far: dict[str, float | None]
    flip: str

    def metric(self, benchmark: str) -> str:
        """What is reported of a benchmark: ``accuracy``, or ``TAR at FAR 0.0001``."""
        far = self.far[benchmark]
        return "accuracy" if far is None else f"TAR at FAR {far:g}"

    def own_runs(self, model: str) -> list[int]:
        """The runs in which a model was evaluated."""
        return list(dict.fromkeys(self.runs[model]))

    def by_model(self, paths: list[str]) -> dict[str, dict[int, str]]:
        """Model to its evaluations, run to path, from ``paths`` ordered by model and run."""
        rest = iter(paths)
        return {model: {run: next(rest) for run in self.own_runs(model)} for model in self.runs}


def group(paths: list[str], counts: dict[str, int]) -> dict[str, list[str]]:
    """Name to its paths, from ``paths`` in the order of ``counts``, which says how many each name has."""
    rest = iter(paths)
    return {name: [next(rest) for _ in range(count)] for name, count in counts.items()}


def short_name(model: str) -> str:
    """A model's name in the configuration: a method's, that of a further model, ``teacher`` or ``student``."""
    return model.rpartition("/")[2]


def distance_name(distance: str) -> str:
    """A distance's name in a sentence: ``squared Euclidean``."""
    return distance.replace("_", " ").replace("euclidean", "Euclidean")
