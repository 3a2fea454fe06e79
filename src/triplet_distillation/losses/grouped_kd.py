"""Grouped knowledge distillation: soft targets over the classes that matter to an image, without the long rest."""

import torch
from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.functions import log_sum_exp
from triplet_distillation.losses.softmax import (
    cosines,
    initial_centers,
    label_accuracy,
    margin_softmax,
    soft_target_loss,
)

EXCLUDED = -1e4
"""Logit of a class that does not count: its probability is exactly 0, and every gradient stays finite."""


class GroupedKDLoss(Loss):
    """ArcFace + T² · (primary_weight · KL(p_P ‖ q_P) + binary_weight · KL(p_b ‖ q_b)), mean over the batch.

    p, q = softmax of the teacher's and the student's logits s·cos θ_j / T. P, of every image, is the smallest set of
    classes whose sorted p reach the threshold; p_P, q_P are renormalized within P; p_b = (Σ_P p, 1 − Σ_P p), q_b alike.

    Source: Zhao et al., "Grouped Knowledge Distillation for Deep Face Recognition", AAAI 2023.

    Args:
        threshold: of the cumulative probability, in (0, 1]; default of ours: the number is that of the authors' code
            (WisonZ/GKD, gkd_adaptive.py), which takes probabilities without a temperature, so that groups are smaller.
        temperature: T; 4 as in the authors' code.
        primary_weight: of the divergence within the primary group P; 4 as in the authors' code.
        binary_weight: of the divergence of the split into P and the rest; 1 as in the authors' code.
        scale: s; default of ours, that of ArcFace.
        margin: m of ArcFace, in radians; default of ours, that of ArcFace. The soft targets are without a margin.

    Raises:
        ValueError: ``threshold`` is not in (0, 1].

    The student's class centers are trained with the network; the teacher's stay fixed. The divergence within the
    rest is left out.

    Read differently: the authors' code has one group size for the whole batch, chosen by the student from
    probabilities without a temperature, always counts the label in, and raises the distillation's weight over the
    first 10 epochs. Here every image has a group of its own, chosen by the teacher from softened probabilities, and
    the weights are constant.
    """

    title = "grouped KD"
    requires = ("teacher_embeddings", "class_centers", "student_centers")
    initial = "random"
    provides = ("class_centers",)

    teacher_centers: torch.Tensor

    def __init__(
        self,
        context: LossContext,
        *,
        threshold: float = 0.93,
        temperature: float = 4.0,
        primary_weight: float = 4.0,
        binary_weight: float = 1.0,
        scale: float = 64.0,
        margin: float = 0.5,
    ):
        super().__init__()
        if not 0 < threshold <= 1:
            raise ValueError(f"grouped_kd: threshold is {threshold}, but must be above 0 and at most 1")
        self.threshold, self.temperature = threshold, temperature
        self.primary_weight, self.binary_weight = primary_weight, binary_weight
        self.scale, self.margin = scale, margin
        self.class_centers = initial_centers(context)
        self.register_buffer("teacher_centers", context.provided("class_centers").clone(), persistent=False)

    def forward(self, embeddings, step):
        cosine = cosines(embeddings, self.class_centers)
        classification = margin_softmax(cosine, step.labels, self.scale, self.margin)
        student = self.scale * cosine / self.temperature
        teacher = self.scale * cosines(step.teacher.detach(), self.teacher_centers) / self.temperature
        group = self._primary_group(teacher)
        within = soft_target_loss(student.masked_fill(~group, EXCLUDED), teacher.masked_fill(~group, EXCLUDED), 1.0)
        split = soft_target_loss(self._two_way(student, group), self._two_way(teacher, group), 1.0)
        distillation = self.temperature**2 * (self.primary_weight * within + self.binary_weight * split)
        return classification + distillation, {
            "accuracy": label_accuracy(cosine, step.labels),
            "margin_softmax": classification.detach(),
            "distillation": distillation.detach(),
            "group_size": group.sum(dim=1).to(cosine.dtype).mean(),
        }

    def _primary_group(self, teacher_logits: torch.Tensor) -> torch.Tensor:
        """Mask [B, N]: the most probable classes, until their sum reaches the threshold."""
        probability, classes = functional.softmax(teacher_logits, dim=1).sort(dim=1, descending=True, stable=True)
        before = functional.pad(probability.cumsum(dim=1)[:, :-1], (1, 0))
        return torch.zeros_like(classes, dtype=torch.bool).scatter(1, classes, before < self.threshold)

    @staticmethod
    def _two_way(logits: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
        """Logits [B, 2] of the group and of the rest."""
        sides = [logits.masked_fill(~group, EXCLUDED), logits.masked_fill(group, EXCLUDED)]
        return torch.stack([log_sum_exp(side) for side in sides], dim=1)
