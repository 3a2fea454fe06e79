"""The triplets of a batch, and the mining strategies that choose among them.

A batch's triplets form a table: one row for every (anchor, positive) pair, one column
for every image of the batch as the negative. A cell whose column has the anchor's
identity is not a valid triplet.
"""

from typing import NamedTuple

import torch


class Triplets(NamedTuple):
    """``anchors``, ``positives`` [M] int64: rows of the batch; ``valid`` [M, B] bool."""

    anchors: torch.Tensor
    positives: torch.Tensor
    valid: torch.Tensor

    def gap(self, distances: torch.Tensor) -> torch.Tensor:
        """Distance to the negative minus distance to the positive, [M, B], from ``distances`` [B, B]."""
        return distances[self.anchors] - distances[self.anchors, self.positives][:, None]


def all_triplets(labels: torch.Tensor) -> Triplets:
    """All triplets of a batch with ``labels`` [B]; an identity with one image provides negatives only."""
    same = labels[:, None] == labels[None, :]
    anchors, positives = (same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)).nonzero(as_tuple=True)
    return Triplets(anchors, positives, ~same[anchors])


def _all(triplets, gap, margins, num_triplets, generator):
    return triplets.valid


def _semihard(triplets, gap, margins, num_triplets, generator):
    """Negatives farther than the positive, but by less than the margin (Schroff et al. 2015)."""
    return triplets.valid & (gap > 0) & (gap < margins)


def _batch_hard(triplets, gap, margins, num_triplets, generator):
    """Each anchor's farthest positive with its nearest negative (Hermans et al. 2017).

    For one anchor, the smallest gap in its rows is exactly that pair.
    """
    smallest_in_row, column = gap.masked_fill(~triplets.valid, torch.inf).min(dim=1)
    size = gap.shape[1]
    smallest = gap.new_full((size,), torch.inf).scatter_reduce(0, triplets.anchors, smallest_in_row, "amin")
    is_hardest = smallest_in_row == smallest[triplets.anchors]
    chosen = torch.zeros_like(triplets.valid)
    chosen[torch.arange(len(gap), device=gap.device), column] = is_hardest
    return chosen & triplets.valid


def _random(triplets, gap, margins, num_triplets, generator):
    """``num_triplets`` triplets drawn without replacement (all, if the batch has no more)."""
    cells = triplets.valid.flatten().nonzero()[:, 0]
    drawn = cells[torch.randperm(len(cells), generator=generator)[:num_triplets].to(cells.device)]
    chosen = torch.zeros(triplets.valid.numel(), dtype=torch.bool, device=cells.device)
    chosen[drawn] = True
    return chosen.view_as(triplets.valid)


MINERS = {"all": _all, "semihard": _semihard, "batch_hard": _batch_hard, "random": _random}
"""Mining strategy to a function that returns the chosen triplets as a mask [M, B]."""


class Mining(NamedTuple):
    """Which triplets enter the loss: ``strategy``, a key of :data:`MINERS`, and how many ``random`` draws."""

    strategy: str
    num_triplets: int

    def choose(
        self, triplets: Triplets, gap: torch.Tensor, margins: torch.Tensor | float, generator: torch.Generator | None
    ) -> torch.Tensor:
        """The chosen triplets as a mask [M, B] bool.

        Raises:
            ValueError: unknown strategy.
        """
        if self.strategy not in MINERS:
            raise ValueError(f"unknown mining strategy {self.strategy!r}: choose one of {', '.join(MINERS)}")
        return MINERS[self.strategy](triplets, gap, margins, self.num_triplets, generator)


def triplet_margin_loss(
    triplets: Triplets,
    distances: torch.Tensor,
    margins: torch.Tensor | float,
    mining: Mining,
    generator: torch.Generator | None,
) -> tuple[torch.Tensor, dict]:
    """Mean of max(D(a,p) − D(a,n) + margin, 0) over the mined triplets (the paper's Eq. 1).

    Args:
        triplets: of the batch.
        distances: between the embeddings of the network being trained, [B, B].
        margins: one for all triplets, or one per triplet [M, B].
        mining: which triplets enter the loss.
        generator: for random mining.

    Returns:
        The loss (0 with zero gradient if no triplet is chosen) and ``active``: the fraction
        of the chosen triplets that violate their margin; ``margin``: the mean of all valid triplets.

    Raises:
        ValueError: unknown mining strategy.
    """
    gap = triplets.gap(distances)
    with torch.no_grad():
        chosen = mining.choose(triplets, gap, margins, generator)
        count = chosen.sum().clamp_min(1)
    violation = torch.where(chosen, margins - gap, 0.0).clamp_min(0)
    active = (violation.detach() > 0).sum() / count
    return violation.sum() / count, {"active": active, "margin": _mean_margin(triplets, margins)}


def _mean_margin(triplets: Triplets, margins: torch.Tensor | float) -> torch.Tensor | float:
    if not isinstance(margins, torch.Tensor):
        return margins
    return margins[triplets.valid].mean() if triplets.valid.any() else 0.0
