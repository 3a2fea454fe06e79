"""Angular distillation (ShrinkTeaNet): the student's embeddings point where the teacher's do."""

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.projection import paired_cosine, projection
from triplet_distillation.losses.softmax import cosines, initial_centers, label_accuracy, margin_softmax


class AngularDistillationLoss(Loss):
    """ArcFace with centers of the student's own + weight · mean(1 − cos(f, t)).

    Source: Duong et al., "ShrinkTeaNet: Million-scale Lightweight Face Recognition via Shrinking Teacher-Student
    Networks", arXiv 1905.10620.

    Args:
        weight: of the distillation; 1 as in the published code (MarginDistillation's repository).
        scale: s; 64 as in the published code.
        margin: m, in radians; 0.5 as in the published code.

    If the embedding sizes differ, f is the linear projection of the student's embedding in the distillation.
    The class centers are trained with the network.
    """

    title = "angular distillation"
    requires = ("teacher_embeddings", "student_centers")
    initial = "random"
    provides = ("class_centers",)

    def __init__(self, context: LossContext, *, weight: float = 1.0, scale: float = 64.0, margin: float = 0.5):
        super().__init__()
        self.weight, self.scale, self.margin = weight, scale, margin
        self.class_centers = initial_centers(context)
        self.projection = projection(context)

    def forward(self, embeddings, step):
        cosine = cosines(embeddings, self.class_centers)
        classification = margin_softmax(cosine, step.labels, self.scale, self.margin)
        distillation = (1 - paired_cosine(self.projection(embeddings), step.teacher)).mean()
        return classification + self.weight * distillation, {
            "accuracy": label_accuracy(cosine, step.labels),
            "margin_softmax": classification.detach(),
            "distillation": distillation.detach(),
        }
