"""Similarity-preserving distillation: the student learns the teacher's similarities within a batch."""

from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.softmax import cosines


class SimilarityPreservingLoss(Loss):
    """w · mean_{ij} (cos(f_i, f_j) − cos(t_i, t_j))² over all pairs of the batch.

    Source: Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, arXiv 1907.09682.

    Args:
        weight: w; a default of ours.

    Read differently: as in the published code for faces, the similarities are cosines of embeddings.
    """

    title = "similarity-preserving"
    requires = ("teacher_embeddings",)

    def __init__(self, context: LossContext, *, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def forward(self, embeddings, step):
        teacher = step.teacher.detach()
        difference = functional.mse_loss(cosines(embeddings, embeddings), cosines(teacher, teacher))
        return self.weight * difference, {"difference": difference.detach()}
