"""ArcFace against its formula in float64, sample by sample."""

import math

import numpy as np
import pytest
import torch

from triplet_distillation.losses import LossContext
from triplet_distillation.losses.arcface import ArcFaceLoss


def reference(embeddings, class_centers, labels, scale, margin):
    total = 0.0
    for embedding, label in zip(embeddings, labels):
        cosines = [embedding @ c / np.linalg.norm(embedding) / np.linalg.norm(c) for c in class_centers]
        theta = math.acos(cosines[label])
        numerator = math.exp(scale * math.cos(theta + margin))
        others = sum(math.exp(scale * cosine) for j, cosine in enumerate(cosines) if j != label)
        total -= math.log(numerator / (numerator + others))
    return total / len(labels)


def loss_and_data(scale=16.0, margin=0.5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    loss = ArcFaceLoss(LossContext(num_identities=7, embedding_size=5), scale=scale, margin=margin).to(dtype)
    loss.class_centers.data = torch.randn(7, 5, generator=generator, dtype=dtype)
    embeddings = torch.randn(11, 5, generator=generator, dtype=dtype)
    labels = torch.randint(0, 7, (11,), generator=generator)
    return loss, embeddings, labels


def test_equals_the_formula():
    loss, embeddings, labels = loss_and_data()
    value, _ = loss(embeddings, labels, None, None)
    expected = reference(embeddings.numpy(), loss.class_centers.detach().numpy(), labels.tolist(), 16.0, 0.5)
    assert math.isclose(value.item(), expected, rel_tol=1e-9)


def test_float32_at_the_papers_scale_is_close_to_float64():
    loss, embeddings, labels = loss_and_data(scale=64.0)
    expected = reference(embeddings.numpy(), loss.class_centers.detach().numpy(), labels.tolist(), 64.0, 0.5)
    value, _ = loss.float()(embeddings.float(), labels, None, None)
    assert math.isclose(value.item(), expected, rel_tol=1e-5)


def test_gradient_by_finite_differences():
    loss, embeddings, labels = loss_and_data(scale=8.0)
    assert torch.autograd.gradcheck(lambda e: loss(e, labels, None, None)[0], embeddings.requires_grad_())


def test_gradient_is_finite_where_embedding_and_center_coincide():
    loss, embeddings, labels = loss_and_data(scale=64.0, dtype=torch.float32)
    embeddings = loss.class_centers.detach()[labels].clone().requires_grad_()
    value, _ = loss(embeddings, labels, None, None)
    value.backward()
    assert torch.isfinite(embeddings.grad).all()
    assert torch.isfinite(loss.class_centers.grad).all()


def test_margin_makes_it_harder():
    loss, embeddings, labels = loss_and_data()
    without = ArcFaceLoss(LossContext(7, 5), scale=16.0, margin=0.0).double()
    without.class_centers.data = loss.class_centers.data
    assert loss(embeddings, labels, None, None)[0] > without(embeddings, labels, None, None)[0]


def sampled_loss(share, classes=50):
    torch.manual_seed(0)
    return ArcFaceLoss(LossContext(num_identities=classes, embedding_size=8), sample_rate=share)


def test_sampled_classes_are_the_direct_formula_over_them():
    """Against the formula over the batch's classes and the others that were drawn, center by center."""
    loss, embeddings, labels = sampled_loss(0.2), torch.randn(6, 8), torch.tensor([3, 7, 7, 20, 41, 3])
    classes = loss._sample_classes(labels, torch.Generator().manual_seed(5))
    assert len(classes) == 10
    assert set(labels.tolist()) <= set(classes.tolist())
    assert classes.tolist() == sorted(set(classes.tolist()))
    value, _ = loss(embeddings, labels, None, torch.Generator().manual_seed(5))
    direct = ArcFaceLoss(LossContext(num_identities=10, embedding_size=8))
    direct.class_centers.data = loss.class_centers.data[classes]
    expected, _ = direct(embeddings, torch.tensor([classes.tolist().index(label) for label in labels]), None, None)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)


def test_only_sampled_centers_have_a_gradient_and_the_step_decides_which():
    loss, labels = sampled_loss(0.2), torch.tensor([3, 7])
    value, _ = loss(torch.randn(2, 8), labels, None, torch.Generator().manual_seed(1))
    value.backward()
    moved = set(loss.class_centers.grad.abs().sum(dim=1).nonzero()[:, 0].tolist())
    assert moved == set(loss._sample_classes(labels, torch.Generator().manual_seed(1)).tolist())
    assert moved != set(loss._sample_classes(labels, torch.Generator().manual_seed(2)).tolist())


def test_more_classes_in_the_batch_than_the_share_asks_for_are_all_there():
    loss, labels = sampled_loss(0.02), torch.arange(20)
    assert loss._sample_classes(labels, torch.Generator()).tolist() == list(range(20))


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        sampled_loss(share)
