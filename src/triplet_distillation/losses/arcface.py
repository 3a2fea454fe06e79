"""ArcFace: additive angular margin softmax, the paper's first stage."""

import torch
from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.softmax import cosines, initial_centers, label_accuracy, margin_softmax


class ArcFaceLoss(Loss):
    """−log( e^{s·cos(θ_y + m)} / (e^{s·cos(θ_y + m)} + Σ_{j≠y} e^{s·cos θ_j}) ), mean over the batch.

    Source: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019.

    Args:
        scale: s.
        margin: m, in radians.
        sample_rate: fraction of the classes in each step's sum: those of the batch plus a
            random sample of the others (Partial FC, An et al. 2022, arXiv 2203.15565). Only
            their centers are updated, and only their cosines take memory. 1 takes all classes.

    Raises:
        ValueError: ``sample_rate`` is not in (0, 1].

    The class centers [num_identities, embedding_size] are trained with the network.
    """

    title = "ArcFace"
    requires = ("student_centers",)
    provides = ("class_centers",)

    def __init__(self, context: LossContext, *, scale: float = 64.0, margin: float = 0.5, sample_rate: float = 1.0):
        super().__init__()
        if not 0 < sample_rate <= 1:
            raise ValueError(f"arcface: sample_rate is {sample_rate}, but must be above 0 and at most 1")
        self.scale, self.margin, self.sample_rate = scale, margin, sample_rate
        self.class_centers = initial_centers(context)

    def forward(self, embeddings, step):
        centers, labels = self.class_centers, step.labels
        if self.sample_rate < 1:
            classes = self._sample_classes(labels, step.generator)
            centers, labels = functional.embedding(classes, centers, sparse=True), torch.searchsorted(classes, labels)
        cosine = cosines(embeddings, centers)
        loss = margin_softmax(cosine, labels, self.scale, self.margin)
        return loss, {"accuracy": label_accuracy(cosine, labels)}

    def _sample_classes(self, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The batch's classes and a random sample of the others, sorted; ``sample_rate`` of all classes, but at least
        as many as there are images, so that a GPU need not be asked how many classes these have."""
        order = torch.rand(len(self.class_centers), generator=generator).to(labels.device)
        order.index_fill_(0, labels, 2.0)  # above every random number
        count = min(max(len(labels), round(self.sample_rate * len(self.class_centers))), len(self.class_centers))
        return order.topk(count).indices.sort().values
