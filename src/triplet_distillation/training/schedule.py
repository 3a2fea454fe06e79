"""The learning rate as a function of the step alone."""

import math

from triplet_distillation.settings import TrainingSettings


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Learning rate of ``step`` (from 0).

    It rises linearly for ``warmup`` steps to its highest value; then ``schedule`` ``steps``
    multiplies it by ``decay`` at each of the ``milestones`` (as in the paper), and
    ``cosine`` lowers it to 0 at the last of the ``iterations``.
    """
    highest, warmup = settings.scaled_learning_rate, settings.warmup
    if step < warmup:
        return highest * (step + 1) / warmup
    if settings.schedule == "cosine":
        progress = (step - warmup) / max(1, settings.iterations - warmup)
        return highest * 0.5 * (1 + math.cos(math.pi * progress))
    return highest * settings.decay ** sum(step >= milestone for milestone in settings.milestones)
