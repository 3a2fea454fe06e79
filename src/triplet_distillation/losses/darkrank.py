"""DarkRank: the student learns to rank the other images of a batch as the teacher does."""

import torch
from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.distances import pairwise_distances


class DarkRankLoss(Loss):
    """−mean_q Σ_i log( e^{S_q(π_i)} / Σ_{j≥i} e^{S_q(π_j)} ), S_q(x) = −α · ‖f̂_q − f̂_x‖^β, with π the images nearest to
    q as the teacher ranks them (the hard variant: only its most probable permutation counts).

    Source: Chen et al., "DarkRank: Accelerating Deep Metric Learning via Cross Sample Similarities Transfer", AAAI
    2018, arXiv 1707.01220.

    Args:
        alpha: α; 3 is that of the published code.
        beta: β, a whole number; 3 is that of the published code.
        list_length: images in π; 3 is that of the published values. A batch must have at least one image more.

    Raises:
        ValueError: ``beta`` or ``list_length`` is below 1; at a step: the batch is not larger than the list.

    Read differently: every image of the batch is the query q once. The query itself is not part of its list.
    """

    title = "DarkRank"
    requires = ("teacher_embeddings",)
    min_batch_size = 4

    def __init__(self, context: LossContext, *, alpha: float = 3.0, beta: int = 3, list_length: int = 3):
        super().__init__()
        if beta < 1 or list_length < 1:
            raise ValueError(f"darkrank: beta is {beta} and list_length {list_length}, but both must be at least 1")
        self.alpha, self.beta, self.list_length = alpha, beta, list_length

    def forward(self, embeddings, step):
        if len(embeddings) <= self.list_length:
            raise ValueError(
                f"darkrank: a batch of {len(embeddings)} images is too small for lists of {self.list_length} others: "
                "lower list_length, or sample larger batches"
            )
        itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
        with torch.no_grad():
            to_others = pairwise_distances(step.teacher, "euclidean").masked_fill(itself, torch.inf)
            ranking = to_others.sort(dim=1, stable=True).indices[:, : self.list_length]
        distances = pairwise_distances(embeddings, "euclidean")
        ranked = powers = distances.gather(1, ranking)
        for _ in range(self.beta - 1):  # torch.pow rounds differently on different CPUs
            powers = powers * ranked
        scores = -self.alpha * powers
        chosen = [functional.log_softmax(scores[:, i:], dim=1)[:, 0] for i in range(self.list_length)]
        first = distances.detach().masked_fill(itself, torch.inf).argmin(dim=1)
        return -torch.stack(chosen).sum(dim=0).mean(), {"same_nearest": (first == ranking[:, 0]).float().mean()}
