"""ArcDistill and CosDistill: the student learns a margin softmax against the teacher's class centers."""

from typing import Literal

import torch

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.projection import projection
from triplet_distillation.losses.softmax import cosines, distillation_margin, label_accuracy, margin_softmax


class CenterDistillationLoss(Loss):
    """Margin softmax of cos θ_j = f̂·ŵ_j with the teacher's class centers w_j, which stay fixed.

    Source: the baselines ArcDistill and CosDistill of Boutros, Štruc, Damer, "AdaDistill: Adaptive Knowledge
    Distillation for Deep Face Recognition", ECCV 2024.

    Args:
        softmax: ``arcface`` for ArcDistill, ``cosface`` for CosDistill.
        margin: m; ``published`` is 0.45 for arcface and 0.35 for cosface.
        scale: s; 64 as published.

    If the embedding sizes differ, the student's embeddings go through a linear projection first.
    """

    title = "ArcDistill / CosDistill"
    requires = ("class_centers",)
    initial = "random"

    teacher_centers: torch.Tensor

    def __init__(
        self,
        context: LossContext,
        *,
        softmax: Literal["arcface", "cosface"] = "arcface",
        margin: float | Literal["published"] = "published",
        scale: float = 64.0,
    ):
        super().__init__()
        self.softmax, self.margin, self.scale = softmax, distillation_margin(softmax, margin), scale
        centers = context.provided("class_centers").clone()
        self.projection = projection(context, teacher_size=centers.shape[1])
        self.register_buffer("teacher_centers", centers, persistent=False)

    def forward(self, embeddings, step):
        cosine = cosines(self.projection(embeddings), self.teacher_centers)
        loss = margin_softmax(cosine, step.labels, self.scale, self.margin, self.softmax)
        return loss, {"accuracy": label_accuracy(cosine, step.labels)}
