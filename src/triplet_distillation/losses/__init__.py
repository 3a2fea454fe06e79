"""Training methods, one file each: a class derived from :class:`Loss` that turns a batch of embeddings into a loss.

The contract of a method::

    class MyLoss(Loss):
        requires = ("teacher_embeddings", "margins")     # what the workflow must provide; may be empty

        def __init__(self, context: LossContext, *, distance: str = "squared_euclidean"):
            super().__init__()
            ...                                          # settings from the configuration are keyword-only

        def forward(self, embeddings, labels, teacher, generator):
            return loss, {"active": share}               # a scalar tensor; floats or 0-d tensors to log
"""

from typing import NamedTuple

from torch import Generator, Tensor, nn


class LossContext(NamedTuple):
    """What is known before the first step.

    ``num_identities``: identities in the training set; ``embedding_size``: of the network being trained;
    ``min_margin``, ``max_margin``, ``largest_gap``: from the calibration, the last being the largest d of its triplets;
    None unless required;
    ``matched_margin``: the mean margin of a distillation, for the control that uses it.
    """

    num_identities: int
    embedding_size: int
    min_margin: float | None = None
    max_margin: float | None = None
    largest_gap: float | None = None
    matched_margin: float | None = None


class Loss(nn.Module):
    """Base class of the methods.

    ``requires`` lists what the workflow must provide: ``"teacher_embeddings"``, ``"margins"``. A method that
    sets margins by the teacher has a ``teacher_margins``, so that a fixed margin can be matched to them.
    Parameters of a loss (class centers) are trained with the network and dropped afterwards.
    """

    requires: tuple[str, ...] = ()

    def forward(
        self, embeddings: Tensor, labels: Tensor, teacher: Tensor | None, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss of one batch.

        Args:
            embeddings: of the network being trained, [B, E] float32, not normalized.
            labels: [B] int64.
            teacher: the teacher's embeddings, [B, D] float32, normalized; None unless required.
            generator: seeded by the step, for methods that draw at random.

        Returns:
            A scalar, and what to log.
        """
        raise NotImplementedError

    def teacher_margins(self, labels: Tensor, teacher: Tensor) -> Tensor:
        """The margins of all valid triplets of one batch, [triplets], before any step is taken.

        Args:
            labels, teacher: as in :meth:`forward`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no margins from the teacher")
