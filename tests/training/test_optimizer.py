"""SGD that leaves alone the rows that a step does not use."""

import copy

import pytest
import torch
from torch import nn

from triplet_distillation.training.optimizer import SparseSGD, clip_gradients

SETTINGS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
EVERY_ROW = torch.arange(6)


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)))


def use(rows: torch.Tensor, centers: nn.Parameter, sparse: bool) -> None:
    """A gradient in ``rows`` of ``centers`` that differs from row to row."""
    centers.grad = None
    nn.functional.embedding(rows, centers, sparse=sparse).square().sum().backward()


def test_rows_that_are_always_used_are_trained_as_by_pytorch():
    ours, theirs = parameter(), parameter()
    sparse, dense = SparseSGD([ours], **SETTINGS), torch.optim.SGD([theirs], **SETTINGS)
    for _ in range(4):
        use(EVERY_ROW, ours, sparse=True)
        use(EVERY_ROW, theirs, sparse=False)
        sparse.step()
        dense.step()
    assert torch.allclose(ours, theirs, rtol=1e-6)


def test_dense_gradients_are_applied_to_the_bit_as_by_pytorch():
    ours, theirs = parameter(), parameter()
    sparse, dense = SparseSGD([ours], **SETTINGS), torch.optim.SGD([theirs], **SETTINGS)
    for _ in range(4):
        for each, optimizer in ((ours, sparse), (theirs, dense)):
            use(EVERY_ROW, each, sparse=False)
            optimizer.step()
    assert torch.equal(ours, theirs)


def test_row_that_is_not_used_does_not_move_although_it_has_momentum():
    centers = parameter()
    optimizer = SparseSGD([centers], **SETTINGS)
    use(EVERY_ROW, centers, sparse=True)
    optimizer.step()
    before = centers.detach().clone()
    use(torch.tensor([1, 4]), centers, sparse=True)
    optimizer.step()
    moved = (centers != before).any(dim=1)
    assert moved.tolist() == [False, True, False, False, True, False]


def test_momentum_of_rows_is_restored_from_a_state_dict():
    centers = parameter()
    optimizer = SparseSGD([centers], **SETTINGS)
    use(torch.tensor([0, 2]), centers, sparse=True)
    optimizer.step()
    again = nn.Parameter(centers.detach().clone())
    restored = SparseSGD([again], **SETTINGS)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, one in ((centers, optimizer), (again, restored)):
        use(torch.tensor([2, 3]), each, sparse=True)
        one.step()
    assert torch.equal(centers, again)


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_sparse_gradients_count_in_the_common_norm(max_norm):
    sparse, dense, weights = parameter(), parameter(), nn.Parameter(torch.ones(4))
    for centers, is_sparse in ((sparse, True), (dense, False)):
        use(torch.tensor([1, 4]), centers, is_sparse)
    weights.grad = torch.full((4,), 2.0)
    both = nn.Parameter(torch.ones(4))
    both.grad = weights.grad.clone()
    clip_gradients([sparse, weights], max_norm)
    nn.utils.clip_grad_norm_([dense, both], max_norm)
    assert torch.allclose(sparse.grad.to_dense(), dense.grad)
    assert torch.allclose(weights.grad, both.grad)
