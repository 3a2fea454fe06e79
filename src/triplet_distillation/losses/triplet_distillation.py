"""Triplet distillation, the paper's method (Eqs. 2–4): the teacher sets the margin of every triplet."""

from typing import Literal

import torch

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.distances import pairwise_distances
from triplet_distillation.losses.triplets import Mining, Triplets, all_triplets, triplet_margin_loss


def margins(
    triplets: Triplets, teacher: torch.Tensor, min_margin: float, max_margin: float, distance: str
) -> torch.Tensor:
    """F(d) = (m_max − m_min) / d_max · d + m_min with d = max(T(a,n) − T(a,p), 0) (Eqs. 3 and 4).

    Args:
        triplets: of the batch.
        teacher: the teacher's embeddings [B, D].
        min_margin, max_margin: m_min and m_max.
        distance: T, a key of :data:`.distances.DISTANCES`.

    Returns:
        A margin for every cell of the table of triplets, [M, B]; m_min everywhere if the
        teacher orders no triplet of the batch correctly (d_max = 0).
    """
    d = triplets.gap(pairwise_distances(teacher, distance)).clamp_min(0).masked_fill(~triplets.valid, 0)
    d_max = d.max() if d.numel() else d.new_zeros(())
    return min_margin + (max_margin - min_margin) * d / d_max.clamp_min(torch.finfo(d.dtype).tiny)


class TripletDistillationLoss(Loss):
    """mean max(D(a,p) − D(a,n) + F(d), 0); the gradient flows through D only (Eq. 2).

    m_min and m_max come from the calibration.

    Args:
        distance: D and T, a key of :data:`.distances.DISTANCES`.
        mining: which triplets enter the loss, a key of :data:`.triplets.MINERS`.
        num_triplets: how many triplets random mining draws.

    Raises:
        ValueError: the context has no margins.
    """

    requires = ("teacher_embeddings", "margins")

    def __init__(
        self,
        context: LossContext,
        *,
        distance: Literal["squared_euclidean", "euclidean", "cosine", "angular"] = "squared_euclidean",
        mining: Literal["all", "semihard", "batch_hard", "random"] = "all",
        num_triplets: int = 1000,
    ):
        super().__init__()
        if context.min_margin is None or context.max_margin is None:
            raise ValueError("triplet_distillation needs the margins of a calibration")
        self.min_margin, self.max_margin = context.min_margin, context.max_margin
        self.distance, self.mining = distance, Mining(mining, num_triplets)

    def teacher_margins(self, labels, teacher):
        triplets = all_triplets(labels)
        return self._margins(triplets, teacher)[triplets.valid]

    def _margins(self, triplets: Triplets, teacher: torch.Tensor) -> torch.Tensor:
        return margins(triplets, teacher, self.min_margin, self.max_margin, self.distance)

    def forward(self, embeddings, labels, teacher, generator):
        triplets = all_triplets(labels)
        with torch.no_grad():
            teacher_margins = self._margins(triplets, teacher)
        distances = pairwise_distances(embeddings, self.distance)
        loss, log = triplet_margin_loss(triplets, distances, teacher_margins, self.mining, generator)
        mean_margin = teacher_margins[triplets.valid].mean() if triplets.valid.any() else 0.0
        return loss, {**log, "margin": mean_margin}
