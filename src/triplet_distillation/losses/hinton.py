"""Hinton's knowledge distillation: the student learns the teacher's softened class probabilities."""

import torch

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.softmax import (
    cosines,
    initial_centers,
    label_accuracy,
    margin_softmax,
    soft_target_loss,
)


class HintonLoss(Loss):
    """ArcFace + weight · T² · KL(softmax(z_t/T) ‖ softmax(z_s/T)) with the logits z = s·cos θ_j, mean over the batch.

    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.

    Args:
        temperature: T; 4 as in the published code for faces (Tencent/TFace).
        weight: of the soft targets; default of ours.
        scale: s, of both networks' logits; default of ours, that of ArcFace.
        margin: m of ArcFace, in radians; default of ours, that of ArcFace. The soft targets are without a margin.

    z_s are the student's logits with its own class centers, which are trained with the network; z_t those of the
    teacher's embeddings with the teacher's centers.
    """

    title = "soft targets (Hinton)"
    requires = ("teacher_embeddings", "class_centers", "student_centers")
    initial = "random"
    provides = ("class_centers",)

    teacher_centers: torch.Tensor

    def __init__(
        self,
        context: LossContext,
        *,
        temperature: float = 4.0,
        weight: float = 1.0,
        scale: float = 64.0,
        margin: float = 0.5,
    ):
        super().__init__()
        self.temperature, self.weight, self.scale, self.margin = temperature, weight, scale, margin
        self.class_centers = initial_centers(context)
        self.register_buffer("teacher_centers", context.provided("class_centers").clone(), persistent=False)

    def forward(self, embeddings, step):
        cosine = cosines(embeddings, self.class_centers)
        classification = margin_softmax(cosine, step.labels, self.scale, self.margin)
        teacher_logits = self.scale * cosines(step.teacher.detach(), self.teacher_centers)
        soft_targets = soft_target_loss(self.scale * cosine, teacher_logits, self.temperature)
        return classification + self.weight * soft_targets, {
            "accuracy": label_accuracy(cosine, step.labels),
            "margin_softmax": classification.detach(),
            "distillation": soft_targets.detach(),
        }
