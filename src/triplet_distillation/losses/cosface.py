"""CosFace: additive cosine margin softmax, an alternative first stage."""

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.softmax import cosines, initial_centers, label_accuracy, margin_softmax


class CosFaceLoss(Loss):
    """−log( e^{s·(cos θ_y − m)} / (e^{s·(cos θ_y − m)} + Σ_{j≠y} e^{s·cos θ_j}) ), mean over the batch.

    Source: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018.

    Args:
        scale: s; 64 as in InsightFace's code.
        margin: m; 0.4 as in InsightFace's code.

    The class centers [num_identities, embedding_size] are trained with the network.

    Read differently: InsightFace's code leaves the derivative of the margin out of its gradient. For this margin
    that derivative is that of cos θ_y itself, so the gradient here is the formula's.
    """

    title = "CosFace"
    requires = ("student_centers",)
    provides = ("class_centers",)

    def __init__(self, context: LossContext, *, scale: float = 64.0, margin: float = 0.4):
        super().__init__()
        self.scale, self.margin = scale, margin
        self.class_centers = initial_centers(context)

    def forward(self, embeddings, step):
        cosine = cosines(embeddings, self.class_centers)
        loss = margin_softmax(cosine, step.labels, self.scale, self.margin, "cosface")
        return loss, {"accuracy": label_accuracy(cosine, step.labels)}
