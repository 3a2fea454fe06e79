"""ArcFace: additive angular margin softmax (Deng et al. 2019), the paper's first stage."""

import math

import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.functions import square_root


class ArcFaceLoss(Loss):
    """−log( e^{s·cos(θ_y + m)} / (e^{s·cos(θ_y + m)} + Σ_{j≠y} e^{s·cos θ_j}) ), mean over the batch.

    Args:
        scale: s.
        margin: m, in radians.
        sample_rate: fraction of the classes in each step's sum: those of the batch plus a
            random sample of the others (Partial FC, An et al. 2022, arXiv 2203.15565).
            1 takes all classes.

    Raises:
        ValueError: ``sample_rate`` is not in (0, 1].

    The class centers [num_identities, embedding_size] are trained with the network.
    """

    requires = ()

    def __init__(self, context: LossContext, *, scale: float = 64.0, margin: float = 0.5, sample_rate: float = 1.0):
        super().__init__()
        if not 0 < sample_rate <= 1:
            raise ValueError(f"arcface: sample_rate is {sample_rate}, but must be above 0 and at most 1")
        self.scale, self.margin, self.sample_rate = scale, margin, sample_rate
        self.class_centers = nn.Parameter(torch.empty(context.num_identities, context.embedding_size))
        nn.init.normal_(self.class_centers, 0, 0.01)

    def forward(self, embeddings, labels, teacher, generator):
        centers: torch.Tensor = self.class_centers
        if self.sample_rate < 1:
            classes = self._sample_classes(labels, generator)
            centers, labels = functional.embedding(classes, centers), torch.searchsorted(classes, labels)
        cosine = functional.normalize(embeddings) @ functional.normalize(centers).T
        target = cosine.gather(1, labels[:, None])
        sine = square_root((1 - target.square()).clamp_min(1e-9))
        with_margin = target * math.cos(self.margin) - sine * math.sin(self.margin)
        logits = self.scale * cosine.scatter(1, labels[:, None], with_margin)
        with torch.no_grad():
            accuracy = (cosine.argmax(dim=1) == labels).float().mean()
        return functional.cross_entropy(logits, labels), {"accuracy": accuracy}

    def _sample_classes(self, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The batch's classes and a random sample of the others, sorted; ``sample_rate`` of all classes."""
        order = torch.rand(len(self.class_centers), generator=generator).to(labels.device)
        order[labels] = 2  # above every random number
        count = max(len(labels.unique()), round(self.sample_rate * len(self.class_centers)))
        return order.topk(count).indices.sort().values
