"""Which of a list of files belongs to which model."""


def by_model(models: list[str], paths: list[str]) -> dict[str, list[str]]:
    """Model to its paths, one a seed, from ``paths`` in the order of models and, within a model, seeds."""
    seeds = len(paths) // len(models)
    return {model: list(paths[index * seeds : (index + 1) * seeds]) for index, model in enumerate(models)}
