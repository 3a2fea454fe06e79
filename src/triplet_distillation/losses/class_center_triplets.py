"""Triplets whose margin follows from the teacher's class means: the farther two people are apart, the larger."""

from typing import Literal

import torch

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.distances import pairwise_distances
from triplet_distillation.losses.triplet_distillation import Margins
from triplet_distillation.losses.triplets import Mining, Triplets, all_triplets, triplet_margin_loss


class ClassCenterTripletLoss(Loss):
    """mean max(D(a,p) − D(a,n) + F(d), 0), F(d) = (m_max − m_min) · d / d_max + m_min, d = T(μ_{y_a}, μ_{y_n}),
    with μ_y the teacher's mean embedding of identity y, and d_max the largest d of the batch.

    Source: ours, a control of Feng et al., "Triplet Distillation for Deep Face Recognition", arXiv 1905.04457. All
    triplets of two identities have one margin, so a comparison shows what the single photographs add.

    Args:
        distance: D and T, a key of :data:`.distances.DISTANCES`.
        mining: which triplets enter the loss, a key of :data:`.triplets.MINERS`.
        num_triplets: how many triplets random mining draws.

    Raises:
        ValueError: the context has no class means or no margins.

    All defaults are those of triplet distillation.
    """

    title = "class-center triplets"
    requires = ("class_means", "margins")

    class_means: torch.Tensor

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
            raise ValueError("class_center_triplets needs the margins of a calibration")
        self.margins = Margins(context.min_margin, context.max_margin)
        self.distance, self.mining = distance, Mining(mining, num_triplets)
        self.register_buffer("class_means", context.provided("class_means").clone(), persistent=False)

    def _margins(self, triplets: Triplets, labels: torch.Tensor) -> torch.Tensor:
        """F(d), [M, B]. With class means as embeddings, anchor and positive coincide, so d is the distance alone."""
        return self.margins.of(triplets, self.class_means[labels], self.distance)

    def teacher_margins(self, step):
        triplets = all_triplets(step.labels)
        return self._margins(triplets, step.labels)[triplets.valid]

    def forward(self, embeddings, step):
        triplets = all_triplets(step.labels)
        with torch.no_grad():
            margins = self._margins(triplets, step.labels)
        distances = pairwise_distances(embeddings, self.distance)
        return triplet_margin_loss(triplets, distances, margins, self.mining, step.generator)
