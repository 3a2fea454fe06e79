"""Triplet loss with one fixed margin (Schroff et al. 2015), the paper's baseline (Eq. 1)."""

from torch import nn

from triplet_distillation.losses import Given, distances, triplets


class Loss(nn.Module):
    """mean max(D(a,p) − D(a,n) + m, 0) over the batch's triplets.

    Args:
        margin: m.
        distance: D, a key of :data:`.distances.OF_COSINE`.
        selection: which triplets count, a key of :data:`.triplets.SELECTIONS`.
        number: how many, where the selection is ``random``.
    """

    needs = ()

    def __init__(
        self,
        given: Given,
        *,
        margin: float,
        distance: str = "squared_euclidean",
        selection: str = "all",
        number: int = 1000,
    ):
        super().__init__()
        self.margin, self.distance, self.selection, self.number = margin, distance, selection, number

    def forward(self, embeddings, labels, teacher, generator):
        of_batch = triplets.of_batch(labels)
        student = distances.pairwise(embeddings, self.distance)
        loss, log = triplets.hinge(of_batch, student, self.margin, self.selection, self.number, generator)
        return loss, {**log, "margin": self.margin}
