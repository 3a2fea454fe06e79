"""AdaDistill: class centers that follow the teacher, the faster the less the student has learned."""

from typing import Literal

import torch
from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext, Step
from triplet_distillation.losses.projection import paired_cosine, projection
from triplet_distillation.losses.softmax import cosines, distillation_margin, label_accuracy, margin_softmax

SMALLEST_ALPHA = 1e-6


class AdaDistillLoss(Loss):
    """Margin softmax of cos θ_j = f̂·ŵ_j after w_y ← α′·w_y + (1 − α′)·t̂ for every image of the batch, with
    α = clamp(cos(f, t), 1e-6, 1) and α′ = clamp(α · clamp(cos(w_y, t), 1e-6, 1), 1e-6, 1).

    Source: Boutros, Štruc, Damer, "AdaDistill: Adaptive Knowledge Distillation for Deep Face Recognition", ECCV 2024.

    Args:
        softmax: ``arcface`` or ``cosface``.
        margin: m; ``published`` is 0.45 for arcface and 0.35 for cosface.
        scale: s; 64 as published.
        weighted: mix by α′; otherwise by α, the paper's simpler form.
        start: where the centers start: ``random`` from N(0, 0.01) as in the published code, or at the ``class_means``
            of the teacher's embeddings, an option of ours.

    The gradient flows through f only; the centers are not trained. The mixed centers are not normalized between
    steps, only where a cosine is taken. If the embedding sizes differ, f is the linear projection of the student's
    embedding. The log has the means of cos(f, t) (``alpha``, before its clamp), of α′ (``alpha_weighted``) and of
    clamp(cos(w_y, t), 1e-6, 1) (``center_cosine``).

    Read differently: the published code clamps the product α′, which matters where the teacher is on the far side of
    its center; we do the same. Its branch for α does not run; we follow the paper's formula. Where an identity occurs
    twice in a batch, its last image alone moves the center, as in the published code; the paper does not say.
    """

    title = "AdaDistill"
    requires = ("teacher_embeddings", "class_means")
    initial = "random"

    class_centers: torch.Tensor

    def __init__(
        self,
        context: LossContext,
        *,
        softmax: Literal["arcface", "cosface"] = "arcface",
        margin: float | Literal["published"] = "published",
        scale: float = 64.0,
        weighted: bool = True,
        start: Literal["random", "class_means"] = "random",
    ):
        super().__init__()
        self.softmax, self.margin, self.scale = softmax, distillation_margin(softmax, margin), scale
        self.weighted = weighted
        self.projection = projection(context)
        if start == "class_means":
            centers = context.provided("class_means").clone()
        else:
            centers = torch.empty(context.num_identities, context.teacher_size).normal_(0, 0.01)
        self.register_buffer("class_centers", centers)

    def forward(self, embeddings, step):
        embeddings = self.projection(embeddings)
        log = self._mix(embeddings, step)
        cosine = cosines(embeddings, self.class_centers)
        loss = margin_softmax(cosine, step.labels, self.scale, self.margin, self.softmax)
        return loss, {"accuracy": label_accuracy(cosine, step.labels), **log}

    @torch.no_grad()
    def _mix(self, embeddings: torch.Tensor, step: Step) -> dict[str, torch.Tensor]:
        """Move the centers of the batch's identities, in training only; what to log."""
        centers = self.class_centers[step.labels]
        cosine = paired_cosine(embeddings, step.teacher).clamp(-1, 1)
        to_center = paired_cosine(centers, step.teacher).clamp(SMALLEST_ALPHA, 1)
        weighted = (cosine * to_center).clamp_min(SMALLEST_ALPHA)
        if self.training:
            alpha = (weighted if self.weighted else cosine.clamp_min(SMALLEST_ALPHA))[:, None]
            mixed = alpha * centers + (1 - alpha) * functional.normalize(step.teacher)
            occurs_later = (step.labels[:, None] == step.labels).triu(diagonal=1).any(dim=1)
            self.class_centers[step.labels[~occurs_later]] = mixed[~occurs_later]
        return {"alpha": cosine.mean(), "alpha_weighted": weighted.mean(), "center_cosine": to_center.mean()}
