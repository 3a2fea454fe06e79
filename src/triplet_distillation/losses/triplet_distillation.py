"""Triplet distillation, the paper's method (Eqs. 2–4): a margin for every triplet, from the teacher."""

import torch
from torch import nn

from triplet_distillation.losses import Given, distances, triplets


def margins(
    of_batch: triplets.Triplets, teacher: torch.Tensor, minimum: float, maximum: float, distance: str
) -> torch.Tensor:
    """F(d) = (m_max − m_min) / d_max · d + m_min with d = max(T(a,n) − T(a,p), 0) (Eqs. 3 and 4).

    Args:
        of_batch: the batch's triplets.
        teacher: the teacher's embeddings [B, D].
        minimum, maximum: m_min and m_max.
        distance: T, a key of :data:`.distances.OF_COSINE`.

    Returns:
        A margin for every cell of the table of triplets, [M, B]; m_min everywhere when
        the teacher sees no triplet of the batch the right way round (d_max = 0).
    """
    d = of_batch.gap(distances.pairwise(teacher, distance)).clamp_min(0).masked_fill(~of_batch.valid, 0)
    largest = d.max() if d.numel() else d.new_zeros(())
    return minimum + (maximum - minimum) * d / largest.clamp_min(torch.finfo(d.dtype).tiny)


class Loss(nn.Module):
    """mean max(D(a,p) − D(a,n) + F(d), 0); the gradient flows through D only (Eq. 2).

    m_min and m_max come from the calibration.

    Args:
        distance: D and T, a key of :data:`.distances.OF_COSINE`.
        selection: which triplets count, a key of :data:`.triplets.SELECTIONS`.
        number: how many, where the selection is ``random``.
    """

    needs = ("teacher_embeddings", "margins")

    def __init__(
        self, given: Given, *, distance: str = "squared_euclidean", selection: str = "all", number: int = 1000
    ):
        super().__init__()
        self.minimum, self.maximum = given.minimum_margin, given.maximum_margin
        self.distance, self.selection, self.number = distance, selection, number

    def forward(self, embeddings, labels, teacher, generator):
        of_batch = triplets.of_batch(labels)
        with torch.no_grad():
            of_teacher = margins(of_batch, teacher, self.minimum, self.maximum, self.distance)
        student = distances.pairwise(embeddings, self.distance)
        loss, log = triplets.hinge(of_batch, student, of_teacher, self.selection, self.number, generator)
        mean_margin = of_teacher[of_batch.valid].mean() if of_batch.valid.any() else 0.0
        return loss, {**log, "margin": mean_margin}
