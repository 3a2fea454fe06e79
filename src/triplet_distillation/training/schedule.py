"""The learning rate as a function of the step alone."""

import math


def learning_rate(step: int, settings: dict) -> float:
    """Learning rate of ``step`` (from 0).

    Args:
        settings: ``learning_rate`` (the highest), ``iterations``, ``warmup`` (steps of
            linear rise), ``schedule``: ``steps`` (times ``decay`` at each of
            ``milestones``, the paper's) or ``cosine`` (to 0 at the end).
    """
    highest, warmup = settings["learning_rate"], settings["warmup"]
    if step < warmup:
        return highest * (step + 1) / warmup
    if settings["schedule"] == "cosine":
        share = (step - warmup) / max(1, settings["iterations"] - warmup)
        return highest * 0.5 * (1 + math.cos(math.pi * share))
    return highest * settings["decay"] ** sum(step >= milestone for milestone in settings["milestones"])
