"""Training methods, one file each: a class derived from :class:`Loss` that turns a batch of embeddings into a loss.

docs/add-a-method.md goes from a formula to a row of the table.
"""

from typing import Any, ClassVar, NamedTuple

from torch import Generator, Tensor, nn


class LossContext(NamedTuple):
    """What is known before the first step.

    ``num_identities``: identities in the training set; ``embedding_size``: of the network being trained;
    ``iterations``: number of steps; ``teacher_sizes``: embedding size D of every teacher.

    None unless required: ``min_margin``, ``max_margin``, ``largest_gap`` from the calibration, the last being the
    largest d of its triplets; ``class_means`` [identities, D], normalized mean teacher embedding of every identity;
    ``class_centers`` [identities, D], those of the teacher's own classifier, not normalized; ``student_centers``
    [identities, E], those of the student from which training starts, and None also if it came without.

    ``matched_margin``: the mean margin of a distillation, for the control that uses it.
    """

    num_identities: int
    embedding_size: int
    iterations: int = 1
    teacher_sizes: tuple[int, ...] = ()
    min_margin: float | None = None
    max_margin: float | None = None
    largest_gap: float | None = None
    class_means: Tensor | None = None
    class_centers: Tensor | None = None
    student_centers: Tensor | None = None
    matched_margin: float | None = None

    def provided(self, name: str) -> Tensor:
        """The tensor ``name``, such as ``class_means``.

        Raises:
            ValueError: it was not provided, because the method does not require it.
        """
        found = getattr(self, name)
        if found is None:
            raise ValueError(
                f"the method uses {name}, but has none: add {name!r} to what it requires (student_centers can still be "
                "missing: see losses/softmax.py)"
            )
        return found

    @property
    def teacher_size(self) -> int:
        """Embedding size D of the only, or first, teacher.

        Raises:
            ValueError: there is none, because the method does not require it.
        """
        if not self.teacher_sizes:
            raise ValueError("the method uses a teacher, but was not given any: add 'teacher_embeddings' to requires")
        return self.teacher_sizes[0]


class Step(NamedTuple):
    """What a method is told at every step, beside the embeddings.

    ``labels`` [B] int64; ``generator``, seeded by the step, for methods that draw at random; ``teachers``, one tensor
    [B, D] float32 per teacher, normalized, of the same images, flipped where they are; ``index`` of the step, from 0,
    of ``iterations``.
    """

    labels: Tensor
    generator: Generator
    teachers: tuple[Tensor, ...] = ()
    index: int = 0
    iterations: int = 1

    @property
    def teacher(self) -> Tensor:
        """The embeddings [B, D] of the only, or first, teacher.

        Raises:
            ValueError: there is none, because the method does not require it.
        """
        if not self.teachers:
            raise ValueError("the method uses a teacher, but has none: add 'teacher_embeddings' to requires")
        return self.teachers[0]


class Loss(nn.Module):
    """Base class of the methods. Its attributes are read from the source text, so they are written as literals.

    Attributes:
        title: name of the method in figures; the file's name if empty.
        requires: what the workflow must provide, the keys of :data:`.methods.REQUIREMENTS`.
        initial: where training starts unless the configuration says otherwise: from the ``student`` of the first
            stage, or from ``random`` weights.
        training_defaults: keys of the configuration's ``training`` that the method sets unless the configuration does:
            its batches, its number of steps.
        num_teachers: how many teachers the method learns from; 0 stands for any number from 1.
        min_batch_size: images that a batch must have at least.
        loss_may_rise: whether the loss grows by design, so that this is no reason to stop.
        provides: what else than a network remains of a first stage with this method: ``("class_centers",)`` if its
            parameter of this name holds those of the classifier.

    Parameters of a loss (class centers, a projection) are created in ``__init__``, trained with the network and dropped
    afterwards. What changes during training without being trained, such as moving centers, is a buffer
    (``register_buffer``), and so part of every checkpoint. With several processes, each computes the loss of the
    global batch, so that buffers stay the same in all.
    """

    title: str = ""
    requires: tuple[str, ...] = ()
    initial: str = "student"
    training_defaults: ClassVar[dict[str, Any]] = {}
    num_teachers: int = 1
    min_batch_size: int = 2
    loss_may_rise: bool = False
    provides: tuple[str, ...] = ()

    def __init__(self, context: LossContext | None = None):
        """A method that has neither settings nor parameters needs none of its own."""
        super().__init__()

    def forward(self, embeddings: Tensor, step: Step) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss of one batch.

        Args:
            embeddings: of the network being trained, [B, E] float32, not normalized.
            step: labels, teachers and the number of the step.

        Returns:
            A scalar, and what to log: numbers by name, which may vary from step to step, except ``step``, ``loss``,
            ``learning_rate`` and ``mean_cosine``, which are logged for every method.
        """
        raise NotImplementedError

    def teacher_margins(self, step: Step) -> Tensor:
        """The margins of all valid triplets of one batch, [triplets], before any step is taken.

        A method that sets margins by the teacher has this, so that a fixed margin can be matched to them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no margins from the teacher")
