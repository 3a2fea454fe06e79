"""Training methods, one file each: a class ``Loss`` that turns a batch of embeddings into a loss.

The contract of a method::

    class Loss(nn.Module):
        needs = ("teacher_embeddings", "margins")        # what the program must provide; may be empty

        def __init__(self, given: Given, *, distance: str = "squared_euclidean"):
            ...                                          # settings from the configuration, by keyword

        def forward(self, embeddings, labels, teacher, generator):
            return loss, {"active": share}               # a scalar tensor; floats or 0-d tensors to log

``embeddings`` [B, E] are the student's, not normalised; ``labels`` [B] int64;
``teacher`` [B, D] float32, normalised, or None where it is not needed; ``generator``
is seeded by the step, for methods that draw at random. Parameters of the loss (class
centres) are trained with the network and dropped afterwards.
"""

from typing import NamedTuple


class Given(NamedTuple):
    """What is known before the first step.

    ``classes``: identities in the training set; ``embedding_size``: the student's;
    ``minimum_margin``, ``maximum_margin``: from the calibration, None where not needed.
    """

    classes: int
    embedding_size: int
    minimum_margin: float | None = None
    maximum_margin: float | None = None
