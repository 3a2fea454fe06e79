"""Margin-based knowledge distillation with a temperature: soft targets with the margin in both networks' logits."""

import torch
from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.softmax import (
    add_angular_margin,
    cosines,
    initial_centers,
    label_accuracy,
    soft_target_loss,
)


class MarginBasedKDLoss(Loss):
    """(1 − a) · ArcFace + a · T² · KL(softmax(z_t/T) ‖ softmax(z_s/T)), where the logits z of both networks have the
    margin: s·cos(θ_y + m) for the label, s·cos θ_j for the others.

    Source: "margin-based with T" in Svitov, Alyamkin, "MarginDistillation: distillation for margin-based softmax",
    arXiv 2003.02586.

    Args:
        soft_weight: a; 0.95 as in the paper.
        temperature: T; 4 as in the paper.
        scale: s; default of ours, that of ArcFace.
        margin: m, in radians; default of ours, that of ArcFace.

    z_s are the student's logits with its own class centers, which are trained with the network; z_t those of the
    teacher's embeddings with the teacher's centers. The factor T² is Hinton's, and a choice of ours here.

    Read differently: the published code computes the teacher's logits without using them, and compares with the hard
    label divided by T. Here the soft targets are the teacher's, as in the paper's text.
    """

    title = "margin-based KD with T"
    requires = ("teacher_embeddings", "class_centers", "student_centers")
    initial = "random"
    provides = ("class_centers",)

    teacher_centers: torch.Tensor

    def __init__(
        self,
        context: LossContext,
        *,
        soft_weight: float = 0.95,
        temperature: float = 4.0,
        scale: float = 64.0,
        margin: float = 0.5,
    ):
        super().__init__()
        self.soft_weight, self.temperature, self.scale, self.margin = soft_weight, temperature, scale, margin
        self.class_centers = initial_centers(context)
        self.register_buffer("teacher_centers", context.provided("class_centers").clone(), persistent=False)

    def forward(self, embeddings, step):
        cosine = cosines(embeddings, self.class_centers)
        logits = self.scale * add_angular_margin(cosine, step.labels, self.margin)
        classification = functional.cross_entropy(logits, step.labels)
        teacher_cosine = cosines(step.teacher.detach(), self.teacher_centers)
        teacher_logits = self.scale * add_angular_margin(teacher_cosine, step.labels, self.margin)
        soft_targets = soft_target_loss(logits, teacher_logits, self.temperature)
        return (1 - self.soft_weight) * classification + self.soft_weight * soft_targets, {
            "accuracy": label_accuracy(cosine, step.labels),
            "margin_softmax": classification.detach(),
            "distillation": soft_targets.detach(),
        }
