"""ArcFace: additive angular margin softmax (Deng et al. 2019), the paper's first stage."""

import math

import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.losses import Given


class Loss(nn.Module):
    """−log( e^{s·cos(θ_y + m)} / (e^{s·cos(θ_y + m)} + Σ_{j≠y} e^{s·cos θ_j}) ), mean over the batch.

    Args:
        scale: s.
        margin: m, in radians.
        sampled: share of the classes that a step's sum runs over: those of the batch, and
            others at random (Partial FC, An et al. 2022, arXiv 2203.15565). 1 takes all.

    Raises:
        ValueError: ``sampled`` is no share.

    Its class centres [classes, embedding_size] are trained with the network.
    """

    needs = ()

    def __init__(self, given: Given, *, scale: float = 64.0, margin: float = 0.5, sampled: float = 1.0):
        super().__init__()
        if not 0 < sampled <= 1:
            raise ValueError(f"arcface: sampled is {sampled}, but a share of the classes is above 0 and at most 1")
        self.scale, self.margin, self.sampled = scale, margin, sampled
        self.centres = nn.Parameter(torch.empty(given.classes, given.embedding_size))
        nn.init.normal_(self.centres, 0, 0.01)

    def forward(self, embeddings, labels, teacher, generator):
        centres = self.centres
        if self.sampled < 1:
            classes = self._sample(labels, generator)
            centres, labels = functional.embedding(classes, centres), torch.searchsorted(classes, labels)
        cosine = functional.normalize(embeddings) @ functional.normalize(centres).T
        target = cosine.gather(1, labels[:, None])
        sine = (1 - target.square()).clamp_min(1e-9).sqrt()
        with_margin = target * math.cos(self.margin) - sine * math.sin(self.margin)
        logits = self.scale * cosine.scatter(1, labels[:, None], with_margin)
        with torch.no_grad():
            accuracy = (cosine.argmax(dim=1) == labels).float().mean()
        return functional.cross_entropy(logits, labels), {"accuracy": accuracy}

    def _sample(self, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The batch's classes and random others, sorted, ``sampled`` of all together."""
        order = torch.rand(len(self.centres), generator=generator).to(labels.device)
        order[labels] = 2  # above every random number
        number = max(len(labels.unique()), round(self.sampled * len(self.centres)))
        return order.topk(number).indices.sort().values
