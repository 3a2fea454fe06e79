"""Comparing a student's embeddings with the teacher's, image by image."""

import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.losses import LossContext


def projection(context: LossContext, teacher_size: int | None = None) -> nn.Module:
    """From the student's embedding size E to the teacher's, D: linear, or nothing if they are equal.

    It is trained with the student and dropped afterwards. ``teacher_size`` is D where a method has centers of the
    teacher, but no embeddings.
    """
    size = context.teacher_size if teacher_size is None else teacher_size
    if context.embedding_size == size:
        return nn.Identity()
    return nn.Linear(context.embedding_size, size, bias=False)


def paired_cosine(embeddings: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """cos(f_i, t_i) of every image, [B]; the gradient flows into ``embeddings`` only."""
    return (functional.normalize(embeddings) * functional.normalize(teacher.detach())).sum(dim=1)
