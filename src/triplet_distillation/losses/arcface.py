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

    Its class centres [classes, embedding_size] are trained with the network.
    """

    needs = ()

    def __init__(self, given: Given, *, scale: float = 64.0, margin: float = 0.5):
        super().__init__()
        self.scale, self.margin = scale, margin
        self.centres = nn.Parameter(torch.empty(given.classes, given.embedding_size))
        nn.init.normal_(self.centres, 0, 0.01)

    def forward(self, embeddings, labels, teacher, generator):
        cosine = functional.normalize(embeddings) @ functional.normalize(self.centres).T
        target = cosine.gather(1, labels[:, None])
        sine = (1 - target.square()).clamp_min(1e-9).sqrt()
        with_margin = target * math.cos(self.margin) - sine * math.sin(self.margin)
        logits = self.scale * cosine.scatter(1, labels[:, None], with_margin)
        with torch.no_grad():
            accuracy = (cosine.argmax(dim=1) == labels).float().mean()
        return functional.cross_entropy(logits, labels), {"accuracy": accuracy}
