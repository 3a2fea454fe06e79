"""Margin softmax: the softmax over class centers that ArcFace, CosFace and many distillations have in common."""

import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.losses import LossContext
from triplet_distillation.losses.functions import cosine_of, square_root

SINE_FLOOR = 1e-9
"""Smallest sin² θ: keeps the gradient finite where an embedding coincides with its center."""


def initial_centers(context: LossContext) -> nn.Parameter:
    """Class centers [identities, E] to train: those of the student that training starts from, or small random ones."""
    if context.student_centers is not None:
        return nn.Parameter(context.student_centers.clone())
    centers = nn.Parameter(torch.empty(context.num_identities, context.embedding_size))
    nn.init.normal_(centers, 0, 0.01)
    return centers


def cosines(embeddings: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """cos θ between ``embeddings`` [B, E] and ``centers`` [N, E]: [B, N]."""
    return functional.normalize(embeddings) @ functional.normalize(centers).T


def add_angular_margin(cosine: torch.Tensor, labels: torch.Tensor, margin: float | torch.Tensor) -> torch.Tensor:
    """``cosine`` [B, N] with cos(θ_y + m) for the label (ArcFace, Deng et al. 2019); m is one number or [B]."""
    margin = _as_column(margin, cosine, torch.float64)
    cos_m, sin_m = cosine_of(margin).to(cosine.dtype), margin.sin().to(cosine.dtype)
    target = cosine.gather(1, labels[:, None])
    sine = square_root((1 - target.square()).clamp_min(SINE_FLOOR))
    return cosine.scatter(1, labels[:, None], target * cos_m - sine * sin_m)


def add_cosine_margin(cosine: torch.Tensor, labels: torch.Tensor, margin: float | torch.Tensor) -> torch.Tensor:
    """``cosine`` [B, N] with cos θ_y − m for the label (CosFace, Wang et al. 2018); m is one number or [B]."""
    target = cosine.gather(1, labels[:, None])
    return cosine.scatter(1, labels[:, None], target - _as_column(margin, cosine, cosine.dtype))


def _as_column(margin: float | torch.Tensor, cosine: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """One margin [1, 1], or one per image [B, 1], beside ``cosine``; copying a number to a GPU would wait for it."""
    if isinstance(margin, torch.Tensor):
        return margin.to(cosine.device, dtype).reshape(-1, 1)
    return torch.full((1, 1), margin, dtype=dtype, device=cosine.device)


ADD_MARGIN = {"arcface": add_angular_margin, "cosface": add_cosine_margin}
"""Name of a margin softmax to the function that adds its margin."""


def margin_softmax(
    cosine: torch.Tensor, labels: torch.Tensor, scale: float, margin: float | torch.Tensor, softmax: str = "arcface"
) -> torch.Tensor:
    """Cross entropy of ``scale`` · ``cosine`` [B, N] with the margin of a ``softmax``, a key of :data:`ADD_MARGIN`."""
    return functional.cross_entropy(scale * ADD_MARGIN[softmax](cosine, labels, margin), labels)


def label_accuracy(cosine: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Fraction of a batch whose nearest class center is its own, for the log."""
    return (cosine.detach().argmax(dim=1) == labels).float().mean()


DISTILLATION_MARGIN = {"arcface": 0.45, "cosface": 0.35}
"""Margins that AdaDistill's authors train ArcDistill, CosDistill and AdaDistill with."""


def distillation_margin(softmax: str, margin: float | str) -> float:
    """``margin``, or that of :data:`DISTILLATION_MARGIN` if it is ``published``.

    Raises:
        ValueError: ``softmax`` is not a key of :data:`ADD_MARGIN`.
    """
    if softmax not in ADD_MARGIN:
        raise ValueError(f"unknown softmax {softmax!r}: choose one of {', '.join(ADD_MARGIN)}")
    return DISTILLATION_MARGIN[softmax] if margin == "published" else float(margin)


def soft_target_loss(student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · KL(p ‖ q) with p, q = softmax of the teacher's and the student's logits / T, mean over the batch.

    Raises:
        ValueError: T is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, but must be positive")
    p = functional.softmax(teacher_logits / temperature, dim=1)
    log_p = functional.log_softmax(teacher_logits / temperature, dim=1)
    log_q = functional.log_softmax(student_logits / temperature, dim=1)
    return temperature**2 * (p * (log_p - log_q)).sum(dim=1).mean()
