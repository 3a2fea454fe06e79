"""Triplet distillation, the paper's method (Eqs. 2–4): the teacher sets the margin of every triplet."""

from typing import Literal, NamedTuple

import torch

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.distances import pairwise_distances
from triplet_distillation.losses.functions import square_root
from triplet_distillation.losses.triplets import Mining, Triplets, all_triplets, triplet_margin_loss

SHAPES = {
    "linear": lambda share: share,
    "square_root": lambda share: square_root(share.clamp_min(torch.finfo(share.dtype).tiny)),
    "constant": lambda share: torch.full_like(share, 0.5),
}
"""How F grows with d / d_max: as in Eq. 4; faster for small d; not at all, as a control."""


class Margins(NamedTuple):
    """F: from ``smallest`` (m_min) to ``largest`` (m_max), a key of :data:`SHAPES`; ``d_max`` of all batches, or None
    for the largest d of each batch, as in the paper."""

    smallest: float
    largest: float
    shape: str = "linear"
    d_max: float | None = None

    def of(self, triplets: Triplets, teacher: torch.Tensor, distance: str) -> torch.Tensor:
        """F(d) = (m_max − m_min) · shape(d / d_max) + m_min with d = max(T(a,n) − T(a,p), 0) (Eqs. 3 and 4).

        Args:
            triplets: of the batch.
            teacher: the teacher's embeddings [B, D].
            distance: T, a key of :data:`.distances.DISTANCES`.

        Returns:
            A margin for every cell of the table of triplets, [M, B]; m_min everywhere if the
            teacher orders no triplet of the batch correctly (d_max = 0).
        """
        d = triplets.gap(pairwise_distances(teacher, distance)).clamp_min(0).masked_fill(~triplets.valid, 0)
        largest = (d.max() if d.numel() else d.new_zeros(())) if self.d_max is None else d.new_tensor(self.d_max)
        share = d / largest.clamp_min(torch.finfo(d.dtype).tiny)
        return self.smallest + (self.largest - self.smallest) * SHAPES[self.shape](share.clamp_max(1))


class TripletDistillationLoss(Loss):
    """mean max(D(a,p) − D(a,n) + F(d), 0); the gradient flows through D only (Eq. 2).

    Source: Feng et al., "Triplet Distillation for Deep Face Recognition", arXiv 1905.04457.

    Args:
        distance: D and T, a key of :data:`.distances.DISTANCES`.
        mining: which triplets enter the loss, a key of :data:`.triplets.MINERS`.
        num_triplets: how many triplets random mining draws.
        shape: F, a key of :data:`SHAPES`.
        d_max: the largest d of the ``batch``, as in the paper, or of the calibration's triplets, which are drawn from
            the ``training_set``; larger ones then count as that.
        min_margin, max_margin: m_min and m_max; ``calibrated`` takes those of the calibration.

    Raises:
        ValueError: the context has no margins, or m_min is above m_max.
    """

    title = "triplet distillation"
    requires = ("teacher_embeddings", "margins")

    def __init__(
        self,
        context: LossContext,
        *,
        distance: Literal["squared_euclidean", "euclidean", "cosine", "angular"] = "squared_euclidean",
        mining: Literal["all", "semihard", "batch_hard", "random"] = "all",
        num_triplets: int = 1000,
        shape: Literal["linear", "square_root", "constant"] = "linear",
        d_max: Literal["batch", "training_set"] = "batch",
        min_margin: float | Literal["calibrated"] = "calibrated",
        max_margin: float | Literal["calibrated"] = "calibrated",
    ):
        super().__init__()
        if context.min_margin is None or context.max_margin is None:
            raise ValueError("triplet_distillation needs the margins of a calibration")
        if d_max == "training_set" and context.largest_gap is None:
            raise ValueError("d_max: training_set needs the largest d of a calibration")
        smallest = context.min_margin if min_margin == "calibrated" else min_margin
        largest = context.max_margin if max_margin == "calibrated" else max_margin
        if smallest > largest:
            raise ValueError(f"min_margin {smallest:g} is above max_margin {largest:g}: change one of them")
        self.margins = Margins(smallest, largest, shape, context.largest_gap if d_max == "training_set" else None)
        self.distance, self.mining = distance, Mining(mining, num_triplets)

    def teacher_margins(self, step):
        triplets = all_triplets(step.labels)
        return self.margins.of(triplets, step.teacher, self.distance)[triplets.valid]

    def forward(self, embeddings, step):
        triplets = all_triplets(step.labels)
        with torch.no_grad():
            teacher_margins = self.margins.of(triplets, step.teacher, self.distance)
        distances = pairwise_distances(embeddings, self.distance)
        return triplet_margin_loss(triplets, distances, teacher_margins, self.mining, step.generator)
