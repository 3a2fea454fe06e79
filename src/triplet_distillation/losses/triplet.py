"""Triplet loss with one fixed margin, the paper's baseline (Eq. 1)."""

from typing import Literal

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.distances import pairwise_distances
from triplet_distillation.losses.triplets import Mining, all_triplets, triplet_margin_loss


class TripletMarginLoss(Loss):
    """mean max(D(a,p) − D(a,n) + m, 0) over the batch's triplets.

    Source: Schroff et al., "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015; Eq. 1 of the
    paper.

    Args:
        margin: m; ``matched`` takes the mean margin of a distillation, so that a comparison with it
            shows what the teacher adds to a number.
        distance: D, a key of :data:`.distances.DISTANCES`.
        mining: which triplets enter the loss, a key of :data:`.triplets.MINERS`.
        num_triplets: how many triplets random mining draws.

    Raises:
        ValueError: the margin is ``matched``, but the context has none.
    """

    title = "triplets"

    def __init__(
        self,
        context: LossContext,
        *,
        margin: float | Literal["matched"],
        distance: Literal["squared_euclidean", "euclidean", "cosine", "angular"] = "squared_euclidean",
        mining: Literal["all", "semihard", "batch_hard", "random"] = "all",
        num_triplets: int = 1000,
    ):
        super().__init__()
        if margin == "matched":
            if context.matched_margin is None:
                raise ValueError("margin: matched needs the mean margin of a distillation")
            margin = context.matched_margin
        self.margin, self.distance, self.mining = margin, distance, Mining(mining, num_triplets)

    def forward(self, embeddings, step):
        distances = pairwise_distances(embeddings, self.distance)
        return triplet_margin_loss(all_triplets(step.labels), distances, self.margin, self.mining, step.generator)
