"""MarginDistillation: ArcFace against the teacher's class centers, with a margin for every image."""

import torch

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.projection import paired_cosine, projection
from triplet_distillation.losses.softmax import cosines, label_accuracy, margin_softmax

SMALLEST_MAXIMUM = 1e-6
"""Of c_max: below, no image lies on its center's side, and all margins are m_min."""


class MarginDistillationLoss(Loss):
    """ArcFace of cos θ_j = f̂·ŵ_j with the teacher's centers w_j and m_i = (m_max − m_min)/c_max · c_i + m_min, where
    c_i = cos(t_i, w_y) and c_max is the largest c of the batch.

    Source: Svitov, Alyamkin, "MarginDistillation: distillation for margin-based softmax", arXiv 2003.02586.

    Args:
        min_margin: m_min; 0.2 as published.
        max_margin: m_max; 0.5 as published.
        scale: s; 64 as published.

    Raises:
        ValueError: m_min is above m_max.

    If the embedding sizes differ, the student's embeddings go through a linear projection first.
    """

    title = "MarginDistillation"
    requires = ("teacher_embeddings", "class_centers")
    initial = "random"

    teacher_centers: torch.Tensor

    def __init__(self, context: LossContext, *, min_margin: float = 0.2, max_margin: float = 0.5, scale: float = 64.0):
        super().__init__()
        if min_margin > max_margin:
            raise ValueError(f"min_margin {min_margin:g} is above max_margin {max_margin:g}: change one of them")
        self.min_margin, self.max_margin, self.scale = min_margin, max_margin, scale
        self.projection = projection(context)
        self.register_buffer("teacher_centers", context.provided("class_centers").clone(), persistent=False)

    def margins(self, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """m_i of every image, [B]."""
        cosine = paired_cosine(self.teacher_centers[labels], teacher)
        largest = cosine.max()
        relative = torch.where(largest > SMALLEST_MAXIMUM, cosine / largest.clamp_min(SMALLEST_MAXIMUM), 0.0)
        return (self.max_margin - self.min_margin) * relative + self.min_margin

    def forward(self, embeddings, step):
        margins = self.margins(step.teacher, step.labels)
        cosine = cosines(self.projection(embeddings), self.teacher_centers)
        loss = margin_softmax(cosine, step.labels, self.scale, margins)
        return loss, {"accuracy": label_accuracy(cosine, step.labels), "margin": margins.mean()}
