"""Evaluation-oriented distillation: the student learns on which side of which threshold a pair of faces lies."""

from collections.abc import Sequence

import torch

from triplet_distillation.losses import Loss, LossContext
from triplet_distillation.losses.softmax import cosines, initial_centers, label_accuracy, margin_softmax


class EKDLoss(Loss):
    """ArcFace + w_g · mean_{genuine} (r_f − r_t)² + w_i · mean_{hardest impostors} (r_f − r_t)², with the soft rank of
    a similarity r(c) = Σ_k σ((c − τ_k) / T); τ_k: the similarity of the impostor pair at rank n // a_k of n.

    Source: Huang et al., "Evaluation-oriented Knowledge Distillation for Deep Face Recognition", CVPR 2022, arXiv
    2206.02325.

    Args:
        anchors: a_k; the defaults are those of the authors' run. The rank counts from the most similar pair, 0.
        genuine_weight, impostor_weight: w_g and w_i, those of the authors' code.
        hardest_impostors: how many impostor pairs count, the most similar ones to the student; the authors' run.
        temperature: T, that of the authors' code.
        momentum: weight of a batch in τ, which starts from 0; that of the authors' code.
        scale, margin: of ArcFace; those of the authors' code.
        critical_only: of these pairs, take only those that student and teacher judge differently (c > τ_k) at a
            threshold, each by its own; off by default, see below.
        queue: how many embeddings of earlier batches join in pairs with those of the batch; 0 by default, see below.

    Raises:
        ValueError: an anchor is below 2, so that there is no such rank.

    The class centers are trained with the network. The smoothed thresholds of student and teacher, and the queue, are
    buffers.

    Read differently: the text describes pairs that are judged differently, and a queue. The authors' code has
    neither: it takes all pairs of a batch. We do as the code does; two settings follow the text.
    """

    title = "EKD"
    requires = ("teacher_embeddings", "student_centers")
    initial = "random"
    provides = ("class_centers",)

    student_thresholds: torch.Tensor
    teacher_thresholds: torch.Tensor
    student_queue: torch.Tensor
    teacher_queue: torch.Tensor
    queue_labels: torch.Tensor

    def __init__(
        self,
        context: LossContext,
        *,
        anchors: Sequence[int] = (10, 100, 1000, 10000, 100000, 1000000),
        genuine_weight: float = 0.02,
        impostor_weight: float = 0.01,
        hardest_impostors: int = 2000,
        temperature: float = 0.01,
        momentum: float = 0.01,
        scale: float = 64.0,
        margin: float = 0.4,
        critical_only: bool = False,
        queue: int = 0,
    ):
        super().__init__()
        if min(anchors) < 2:
            raise ValueError(f"ekd: anchors has {min(anchors)}, but all must be at least 2")
        self.anchors, self.temperature, self.momentum = anchors, temperature, momentum
        self.genuine_weight, self.impostor_weight = genuine_weight, impostor_weight
        self.hardest_impostors, self.critical_only = hardest_impostors, critical_only
        self.scale, self.margin = scale, margin
        self.class_centers = initial_centers(context)
        self.register_buffer("student_thresholds", torch.zeros(len(anchors)))
        self.register_buffer("teacher_thresholds", torch.zeros(len(anchors)))
        self.register_buffer("student_queue", torch.zeros(queue, context.embedding_size))
        self.register_buffer("teacher_queue", torch.zeros(queue, context.teacher_size))
        self.register_buffer("queue_labels", torch.full((queue,), -1))

    def forward(self, embeddings, step):
        cosine = cosines(embeddings, self.class_centers)
        relations, log = self.relations(embeddings, step.teacher.detach(), step.labels)
        loss = margin_softmax(cosine, step.labels, self.scale, self.margin) + relations
        return loss, {**log, "relations": relations.detach(), "accuracy": label_accuracy(cosine, step.labels)}

    def relations(
        self, embeddings: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss without ArcFace, and the ``genuine`` and ``impostor`` terms without their weights."""
        all_labels = torch.cat([labels, self.queue_labels])
        is_pair = torch.ones(len(labels), len(all_labels), dtype=torch.bool, device=labels.device).triu(1)
        same = labels[:, None] == all_labels
        genuine, impostor = is_pair & same, is_pair & ~same & (all_labels >= 0)
        student_cosine = cosines(embeddings, torch.cat([embeddings, self.student_queue]))
        teacher_cosine = cosines(teacher, torch.cat([teacher, self.teacher_queue]))
        student_impostors, teacher_impostors = student_cosine[impostor], teacher_cosine[impostor]
        if self.training:
            self._update(student_impostors.detach(), teacher_impostors)
            self._enqueue(embeddings.detach(), teacher, labels)
        chosen = student_impostors.detach().topk(min(self.hardest_impostors, len(student_impostors))).indices
        terms = {
            "genuine": self._difference(student_cosine[genuine], teacher_cosine[genuine]),
            "impostor": self._difference(student_impostors[chosen], teacher_impostors[chosen]),
        }
        loss = self.genuine_weight * terms["genuine"] + self.impostor_weight * terms["impostor"]
        return loss, {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def _update(self, *impostors: torch.Tensor) -> None:
        """Move the thresholds of student and teacher toward those of the batch; without impostor pairs, none moves."""
        for similarities, thresholds in zip(impostors, (self.student_thresholds, self.teacher_thresholds)):
            if len(similarities):
                ranks = [len(similarities) // anchor for anchor in self.anchors]
                found = similarities.sort(descending=True).values[ranks]
                thresholds.copy_((1 - self.momentum) * thresholds + self.momentum * found)

    @torch.no_grad()
    def _enqueue(self, *batch: torch.Tensor) -> None:
        """Put embeddings and labels at the front of the queue; the oldest drop out."""
        for new, queue in zip(batch, (self.student_queue, self.teacher_queue, self.queue_labels)):
            queue.copy_(torch.cat([new, queue])[: len(queue)])

    def _difference(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Mean squared difference of the soft ranks of pairs with these similarities; 0 if there are none."""
        above_student = student[:, None] - self.student_thresholds
        above_teacher = teacher[:, None] - self.teacher_thresholds
        ranks = (torch.sigmoid(above / self.temperature).sum(dim=1) for above in (above_student, above_teacher))
        difference = torch.sub(*ranks)
        if self.critical_only:
            difference = difference[((above_student > 0) != (above_teacher > 0)).any(dim=1)]
        return difference.square().sum() / max(len(difference), 1)
