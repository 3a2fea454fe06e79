"""AdaFace: a margin softmax whose margin depends on the norm of the embedding, a proxy of image quality."""

import torch
from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.functions import square_root
from triplet_distillation.losses.softmax import (
    add_angular_margin,
    add_cosine_margin,
    cosines,
    initial_centers,
    label_accuracy,
)


class AdaFaceLoss(Loss):
    """Margin softmax with the label's logit s·(cos(θ_y − m·z) − m·(1 + z)), z = clip((‖f‖ − μ)/(σ + 0.001)·h, −1, 1).

    Source: Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022.

    Args:
        scale: s; 64 as published.
        margin: m; 0.4 as published.
        concentration: h; 0.333 as published.
        batch_weight: weight of the new batch in the moving mean μ and deviation σ of the norms; 0.99 as in CVLFace.

    Norms are clipped to 0.001 … 100, and no gradient flows through z. μ and σ start at 20 and 100 and move during
    training only; both are logged. The class centers are trained with the network.

    Read differently: CVLFace's code leaves the derivative of the margin out of its gradient; here the gradient is
    the formula's.
    """

    title = "AdaFace"
    requires = ("student_centers",)
    provides = ("class_centers",)

    norm_mean: torch.Tensor
    norm_std: torch.Tensor

    def __init__(
        self,
        context: LossContext,
        *,
        scale: float = 64.0,
        margin: float = 0.4,
        concentration: float = 0.333,
        batch_weight: float = 0.99,
    ):
        super().__init__()
        self.scale, self.margin, self.concentration, self.batch_weight = scale, margin, concentration, batch_weight
        self.class_centers = initial_centers(context)
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def forward(self, embeddings, step):
        z = self._quality(embeddings)
        cosine = cosines(embeddings, self.class_centers)
        with_margin = add_angular_margin(cosine, step.labels, -self.margin * z)
        with_margin = add_cosine_margin(with_margin, step.labels, self.margin * (1 + z))
        loss = functional.cross_entropy(self.scale * with_margin, step.labels)
        accuracy = label_accuracy(cosine, step.labels)
        return loss, {"accuracy": accuracy, "norm_mean": self.norm_mean.clone(), "norm_std": self.norm_std.clone()}

    @torch.no_grad()
    def _quality(self, embeddings: torch.Tensor) -> torch.Tensor:
        """z of every image, [B]; in training, after the batch has moved μ and σ."""
        norms = embeddings.norm(dim=1).clamp(0.001, 100)
        if self.training:
            mean = norms.mean()
            variance = (norms - mean).square().sum() / (len(norms) - 1)
            deviation = square_root(variance.clamp_min(torch.finfo(norms.dtype).tiny))
            self.norm_mean.mul_(1 - self.batch_weight).add_(self.batch_weight * mean)
            self.norm_std.mul_(1 - self.batch_weight).add_(self.batch_weight * deviation)
        return ((norms - self.norm_mean) / (self.norm_std + 0.001) * self.concentration).clamp(-1, 1)
