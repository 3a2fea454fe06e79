"""Correlation congruence: the student learns the teacher's kernel matrix of a batch."""

import math

import torch
from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.softmax import cosines


class CorrelationCongruenceLoss(Loss):
    """w · mean_{ij} (K(f̂_i, f̂_j) − K(t_i, t_j))², K(x, y) = Σ_{k=0}^{P} e^{−2γ} · (2γ)^k / k! · cos^k(x, y),
    the Taylor series of the Gaussian kernel e^{−γ‖x − y‖²}.

    Source: Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019, arXiv 1904.01802.

    Args:
        gamma: γ; 0.4 is that of the published code.
        order: P, the highest power; 2 is the published code's p.
        weight: w; a default of ours.

    Raises:
        ValueError: ``order`` is below 1, so that K would be constant.

    Read differently: the published code's sum stops before p, so that it is linear in the cosine; ``order: 1``
    gives that. We take the formula as written, with the power P included.
    """

    title = "correlation congruence"
    requires = ("teacher_embeddings",)

    def __init__(self, context: LossContext, *, gamma: float = 0.4, order: int = 2, weight: float = 1.0):
        super().__init__()
        if order < 1:
            raise ValueError(f"correlation_congruence: order is {order}, but must be at least 1")
        self.weight = weight
        self.coefficients = [math.exp(-2 * gamma) * (2 * gamma) ** k / math.factorial(k) for k in range(order + 1)]

    def forward(self, embeddings, step):
        teacher = step.teacher.detach()
        student_kernel = self._kernel(cosines(embeddings, embeddings))
        difference = functional.mse_loss(student_kernel, self._kernel(cosines(teacher, teacher)))
        return self.weight * difference, {"difference": difference.detach()}

    def _kernel(self, cosine: torch.Tensor) -> torch.Tensor:
        """K as a function of the cosine, by Horner's rule."""
        total = torch.zeros_like(cosine)
        for coefficient in reversed(self.coefficients):
            total = total * cosine + coefficient
        return total
