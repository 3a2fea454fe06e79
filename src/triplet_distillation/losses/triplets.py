"""The triplets of a batch, and which of them count.

A batch's triplets are laid out as a table: one row for every (anchor, positive) pair,
one column for every image of the batch as the negative. Cells whose column is of the
anchor's identity are no triplet.
"""

from typing import NamedTuple

import torch


class Triplets(NamedTuple):
    """``anchors``, ``positives`` [M] int64 rows of the batch; ``valid`` [M, B] bool."""

    anchors: torch.Tensor
    positives: torch.Tensor
    valid: torch.Tensor

    def gap(self, distances: torch.Tensor) -> torch.Tensor:
        """Distance to the negative minus distance to the positive, [M, B], from ``distances`` [B, B]."""
        return distances[self.anchors] - distances[self.anchors, self.positives][:, None]


def of_batch(labels: torch.Tensor) -> Triplets:
    """All triplets of ``labels`` [B]; an identity with one image gives negatives only."""
    same = labels[:, None] == labels[None, :]
    anchors, positives = (same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)).nonzero(as_tuple=True)
    return Triplets(anchors, positives, ~same[anchors])


def _all(triplets, gap, margins, number, generator):
    return triplets.valid


def _semihard(triplets, gap, margins, number, generator):
    """The negative is farther than the positive, but by less than the margin (Schroff et al. 2015)."""
    return triplets.valid & (gap > 0) & (gap < margins)


def _hardest(triplets, gap, margins, number, generator):
    """For each anchor its farthest positive with its nearest negative (Hermans et al. 2017).

    For one anchor, the smallest gap in its rows is exactly that pair.
    """
    smallest_in_row, column = gap.masked_fill(~triplets.valid, torch.inf).min(dim=1)
    size = gap.shape[1]
    smallest = gap.new_full((size,), torch.inf).scatter_reduce(0, triplets.anchors, smallest_in_row, "amin")
    is_hardest = smallest_in_row == smallest[triplets.anchors]
    chosen = torch.zeros_like(triplets.valid)
    chosen[torch.arange(len(gap), device=gap.device), column] = is_hardest
    return chosen & triplets.valid


def _random(triplets, gap, margins, number, generator):
    """``number`` triplets drawn without replacement (all, where the batch has no more)."""
    cells = triplets.valid.flatten().nonzero()[:, 0]
    drawn = cells[torch.randperm(len(cells), generator=generator)[:number].to(cells.device)]
    chosen = torch.zeros(triplets.valid.numel(), dtype=torch.bool, device=cells.device)
    chosen[drawn] = True
    return chosen.view_as(triplets.valid)


SELECTIONS = {"all": _all, "semihard": _semihard, "hardest": _hardest, "random": _random}


def hinge(
    triplets: Triplets,
    distances: torch.Tensor,
    margins: torch.Tensor | float,
    selection: str,
    number: int,
    generator: torch.Generator | None,
) -> tuple[torch.Tensor, dict]:
    """Mean of max(D(a,p) − D(a,n) + margin, 0) over the selected triplets (the paper's Eq. 1).

    Args:
        triplets: of the batch.
        distances: the student's, [B, B].
        margins: one for all, or one a triplet [M, B].
        selection: a key of :data:`SELECTIONS`.
        number: how many triplets ``random`` draws.
        generator: for ``random``.

    Returns:
        The loss (0 where nothing is selected, with a gradient of 0) and ``active``: the
        share of the selected triplets that violate their margin.

    Raises:
        ValueError: an unknown selection.
    """
    if selection not in SELECTIONS:
        raise ValueError(f"no selection {selection!r} of triplets: choose one of {', '.join(SELECTIONS)}")
    gap = triplets.gap(distances)
    with torch.no_grad():
        chosen = SELECTIONS[selection](triplets, gap, margins, number, generator)
        count = chosen.sum().clamp_min(1)
    violation = torch.where(chosen, margins - gap, 0.0).clamp_min(0)
    return violation.sum() / count, {"active": (violation.detach() > 0).sum() / count}
