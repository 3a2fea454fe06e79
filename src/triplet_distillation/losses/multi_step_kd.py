"""Multi-step knowledge distillation (PocketNet): the student follows the teacher's own training."""

from torch.nn import functional

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.projection import projection
from triplet_distillation.losses.softmax import cosines, initial_centers, label_accuracy, margin_softmax


class MultiStepKDLoss(Loss):
    """ArcFace with centers of the student's own + w · MSE(f̂, t̂), mean over the batch and the D coordinates; t is by
    the teacher's snapshot at the same share of its own training.

    Source: Boutros et al., "PocketNet: Extreme Lightweight Face Recognition Network using Neural Architecture Search
    and Multi-Step Knowledge Distillation", arXiv 2108.10710.

    Args:
        weight: w; 100 as in the published code.
        scale: s; 64 as in the published code.
        margin: m, in radians; 0.5 as in the published code.

    If the embedding sizes differ, f is the linear projection of the student's embedding in the distillation.
    The class centers are trained with the network.
    """

    title = "multi-step KD"
    requires = ("teacher_embeddings", "teacher_snapshots", "student_centers")
    initial = "random"
    provides = ("class_centers",)

    def __init__(self, context: LossContext, *, weight: float = 100.0, scale: float = 64.0, margin: float = 0.5):
        super().__init__()
        self.weight, self.scale, self.margin = weight, scale, margin
        self.class_centers = initial_centers(context)
        self.projection = projection(context)

    def forward(self, embeddings, step):
        cosine = cosines(embeddings, self.class_centers)
        classification = margin_softmax(cosine, step.labels, self.scale, self.margin)
        student = functional.normalize(self.projection(embeddings))
        distillation = functional.mse_loss(student, functional.normalize(step.teacher.detach()))
        return classification + self.weight * distillation, {
            "accuracy": label_accuracy(cosine, step.labels),
            "margin_softmax": classification.detach(),
            "distillation": distillation.detach(),
        }
