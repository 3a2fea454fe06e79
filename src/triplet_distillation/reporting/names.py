"""Which files belong to which model, and what things are called for readers."""


def by_model(models: list[str], paths: list[str]) -> dict[str, list[str]]:
    """Model to its paths, one a seed, from ``paths`` in the order of models and, within a model, seeds."""
    seeds = len(paths) // max(1, len(models))
    return {model: list(paths[index * seeds : (index + 1) * seeds]) for index, model in enumerate(models)}


def distance_name(distance: str) -> str:
    """A distance's name in a sentence: ``squared Euclidean``."""
    return distance.replace("_", " ").replace("euclidean", "Euclidean")
