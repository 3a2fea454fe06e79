"""ArcFace, CosFace and triplets agree with pytorch-metric-learning, written by others."""

import math
from pathlib import Path

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers

from triplet_distillation import losses as ours
from triplet_distillation import registry
from triplet_distillation.losses import LossContext, Step

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 3])


def batch(seed):
    random = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(len(LABELS), 6, generator=random, dtype=torch.float64, requires_grad=True)
    centers = torch.randn(4, 6, generator=random, dtype=torch.float64)
    return embeddings, centers


def value_and_gradient(loss, embeddings):
    return [loss.detach(), *torch.autograd.grad(loss, embeddings)]


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("name", ["arcface", "cosface"])
@pytest.mark.parametrize("seed", [0, 1])
def test_margin_softmax(name, margin, seed):
    """Theirs takes ArcFace's margin in degrees, and centers in columns."""
    if not (Path(ours.__file__).parent / f"{name}.py").exists():
        pytest.skip(f"no loss named {name}")
    embeddings, centers = batch(seed)
    criterion = registry.load("losses", name)(LossContext(4, 6, student_centers=centers), scale=16.0, margin=margin)
    found, _ = criterion(embeddings, Step(LABELS, torch.Generator()))
    if name == "arcface":
        theirs = losses.ArcFaceLoss(4, 6, margin=math.degrees(margin), scale=16)
    else:
        theirs = losses.CosFaceLoss(4, 6, margin=margin, scale=16)
    theirs.W.data = centers.T.clone()
    assert_same(value_and_gradient(found, embeddings), value_and_gradient(theirs(embeddings, LABELS), embeddings))


@pytest.mark.parametrize("margin", [0.2, 0.8])
@pytest.mark.parametrize(("distance", "power"), [("euclidean", 1), ("squared_euclidean", 2)])
@pytest.mark.parametrize("mining", ["all", "batch_hard"])
def test_triplets(mining, distance, power, margin):
    """By default, theirs averages over the triplets that violate their margin; here it averages over all mined ones."""
    embeddings, _ = batch(2)
    criterion = registry.load("losses", "triplet")(LossContext(4, 6), margin=margin, distance=distance, mining=mining)
    found, _ = criterion(embeddings, Step(LABELS, torch.Generator()))
    measure = distances.LpDistance(normalize_embeddings=True, p=2, power=power)
    mined = miners.BatchHardMiner(distance=measure)(embeddings, LABELS) if mining == "batch_hard" else None
    theirs = losses.TripletMarginLoss(margin=margin, distance=measure, reducer=reducers.MeanReducer())
    expected = theirs(embeddings, LABELS, mined)
    assert expected > 0
    assert_same(value_and_gradient(found, embeddings), value_and_gradient(expected, embeddings))
