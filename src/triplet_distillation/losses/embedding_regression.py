"""Embedding regression: the student's embeddings imitate the teacher's, without labels."""

from typing import Literal

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.distances import DISTANCES
from triplet_distillation.losses.projection import paired_cosine, projection


class EmbeddingRegressionLoss(Loss):
    """mean ‖f̂ − t̂‖², or mean(1 − cos(f, t)).

    Source: known as L2 or cosine regression to the teacher, and as feature consistency in later papers.

    Args:
        distance: ``squared_euclidean`` (default of ours) or ``cosine``, which is half of it.

    If the embedding sizes differ, f is the linear projection of the student's embedding.
    """

    title = "embedding regression"
    requires = ("teacher_embeddings",)

    def __init__(self, context: LossContext, *, distance: Literal["squared_euclidean", "cosine"] = "squared_euclidean"):
        super().__init__()
        if distance not in ("squared_euclidean", "cosine"):
            raise ValueError(f"unknown distance {distance!r}: choose squared_euclidean or cosine")
        self.distance = distance
        self.projection = projection(context)

    def forward(self, embeddings, step):
        cosine = paired_cosine(self.projection(embeddings), step.teacher)
        return DISTANCES[self.distance](cosine).mean(), {"cosine": cosine.detach().mean()}
