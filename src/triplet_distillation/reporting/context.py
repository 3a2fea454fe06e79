"""What tables and figures have in common: display names, and how confidence intervals are computed."""

from dataclasses import dataclass

METHOD_PREFIX = "students/"
"""Prefix of the models that the second stage trained."""


@dataclass(frozen=True)
class ReportContext:
    """``labels`` (of models) and ``benchmarks``: name to display name; ``resamples``, ``seed``: of the bootstrap."""

    labels: dict[str, str]
    benchmarks: dict[str, str]
    resamples: int
    seed: int


def group_by_model(models: list[str], paths: list[str]) -> dict[str, list[str]]:
    """Model to its paths, one per seed, from ``paths`` ordered by model and then by seed."""
    seeds = len(paths) // max(1, len(models))
    return {model: list(paths[index * seeds : (index + 1) * seeds]) for index, model in enumerate(models)}


def distance_name(distance: str) -> str:
    """A distance's name in a sentence: ``squared Euclidean``."""
    return distance.replace("_", " ").replace("euclidean", "Euclidean")
