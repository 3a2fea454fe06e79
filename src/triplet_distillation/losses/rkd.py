"""Relational knowledge distillation: the student learns the teacher's distances and angles within a batch."""

import torch
from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.distances import pairwise_distances

SMALLEST_SIDE = 1e-4
"""Embeddings closer than this have no direction to each other, which would be rounding errors divided by about 0."""


def relative_distances(embeddings: torch.Tensor) -> torch.Tensor:
    """Euclidean distances of all pairs divided by their mean, and 0 on the diagonal: [B, B]."""
    size = len(embeddings)
    itself = torch.eye(size, dtype=torch.bool, device=embeddings.device)
    distances = pairwise_distances(embeddings, "euclidean").masked_fill(itself, 0)
    return distances / (distances.sum() / (size * (size - 1)))


def angles(embeddings: torch.Tensor) -> torch.Tensor:
    """[B, B, B]: entry (j, i, k) is the cosine of the angle at j between i and k; 0 if i or k is j."""
    normalized = functional.normalize(embeddings)
    sides = functional.normalize(normalized[None, :] - normalized[:, None], dim=2, eps=SMALLEST_SIDE)
    return sides @ sides.transpose(1, 2)


class RelationalLoss(Loss):
    """w_D · mean_{ij} ℓ(‖f̂_i − f̂_j‖/μ_f, ‖t_i − t_j‖/μ_t) + w_A · mean_{ijk} ℓ(cos ∠ f̂_i f̂_j f̂_k, cos ∠ t_i t_j t_k)
    with ℓ the Huber loss (smooth L1) and μ the mean distance of the batch.

    Source: Park et al., "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068.

    Args:
        distance_weight: w_D; 25 is that of the published code. 0 leaves the distances out.
        angle_weight: w_A; 50 is that of the published code. 0 leaves out the angles, which take memory for B³ numbers.

    Raises:
        ValueError: both weights are 0.

    Read differently: embeddings are normalized first. μ is the mean over different images and ℓ's mean is over all
    entries, those of an image with itself included, as in the authors' code. Ours: sides shorter than 1e-4 are not
    stretched to length 1, so that two copies of a photograph in one batch do not blow up the gradient.
    """

    title = "RKD"
    requires = ("teacher_embeddings",)
    min_batch_size = 3

    def __init__(self, context: LossContext, *, distance_weight: float = 25.0, angle_weight: float = 50.0):
        super().__init__()
        if distance_weight == angle_weight == 0:
            raise ValueError("rkd: distance_weight and angle_weight are both 0: nothing is left to learn")
        self.distance_weight, self.angle_weight = distance_weight, angle_weight

    def forward(self, embeddings, step):
        teacher = step.teacher.detach()
        loss, log = embeddings.new_zeros(()), {}
        for name, weight, relations in (
            ("distance", self.distance_weight, relative_distances),
            ("angle", self.angle_weight, angles),
        ):
            if weight:
                part = functional.smooth_l1_loss(relations(embeddings), relations(teacher))
                loss, log[name] = loss + weight * part, part.detach()
        return loss, log
