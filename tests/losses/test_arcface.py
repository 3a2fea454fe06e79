"""ArcFace against its formula in float64, sample by sample."""

import math

import numpy as np
import pytest
import torch

from triplet_distillation.losses import LossContext, Step
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


def criterion_and_batch(scale=16.0, margin=0.5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    criterion = ArcFaceLoss(LossContext(num_identities=7, embedding_size=5), scale=scale, margin=margin).to(dtype)
    criterion.class_centers.data = torch.randn(7, 5, generator=generator, dtype=dtype)
    embeddings = torch.randn(11, 5, generator=generator, dtype=dtype)
    labels = torch.randint(0, 7, (11,), generator=generator)
    return criterion, embeddings, labels


def test_loss_matches_the_formula():
    criterion, embeddings, labels = criterion_and_batch()
    loss, _ = criterion(embeddings, Step(labels, torch.Generator()))
    expected = reference(embeddings.numpy(), criterion.class_centers.detach().numpy(), labels.tolist(), 16.0, 0.5)
    assert math.isclose(loss.item(), expected, rel_tol=1e-9)


def test_float32_at_the_papers_scale_is_close_to_float64():
    criterion, embeddings, labels = criterion_and_batch(scale=64.0)
    expected = reference(embeddings.numpy(), criterion.class_centers.detach().numpy(), labels.tolist(), 64.0, 0.5)
    loss, _ = criterion.float()(embeddings.float(), Step(labels, torch.Generator()))
    assert math.isclose(loss.item(), expected, rel_tol=1e-5)


def test_gradient_matches_finite_differences():
    criterion, embeddings, labels = criterion_and_batch(scale=8.0)
    assert torch.autograd.gradcheck(
        lambda e: criterion(e, Step(labels, torch.Generator()))[0], embeddings.requires_grad_()
    )


def test_gradient_is_finite_if_embedding_and_center_coincide():
    criterion, embeddings, labels = criterion_and_batch(scale=64.0, dtype=torch.float32)
    embeddings = criterion.class_centers.detach()[labels].clone().requires_grad_()
    loss, _ = criterion(embeddings, Step(labels, torch.Generator()))
    loss.backward()
    assert torch.isfinite(embeddings.grad).all()
    assert torch.isfinite(criterion.class_centers.grad).all()


def test_margin_increases_the_loss():
    criterion, embeddings, labels = criterion_and_batch()
    without_margin = ArcFaceLoss(LossContext(7, 5), scale=16.0, margin=0.0).double()
    without_margin.class_centers.data = criterion.class_centers.data
    assert (
        criterion(embeddings, Step(labels, torch.Generator()))[0]
        > without_margin(embeddings, Step(labels, torch.Generator()))[0]
    )


def sampled_criterion(rate, classes=50):
    torch.manual_seed(0)
    return ArcFaceLoss(LossContext(num_identities=classes, embedding_size=8), sample_rate=rate)


def test_sampled_loss_matches_the_full_loss_over_the_sampled_classes():
    """Compared with the full loss over the batch's classes and the sampled others."""
    criterion, embeddings, labels = sampled_criterion(0.2), torch.randn(6, 8), torch.tensor([3, 7, 7, 20, 41, 3])
    classes = criterion._sample_classes(labels, torch.Generator().manual_seed(5))
    assert len(classes) == 10
    assert set(labels.tolist()) <= set(classes.tolist())
    assert classes.tolist() == sorted(set(classes.tolist()))
    loss, _ = criterion(embeddings, Step(labels, torch.Generator().manual_seed(5)))
    full = ArcFaceLoss(LossContext(num_identities=10, embedding_size=8))
    full.class_centers.data = criterion.class_centers.data[classes]
    within = torch.tensor([classes.tolist().index(label) for label in labels])
    expected, _ = full(embeddings, Step(within, torch.Generator()))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_only_sampled_class_centers_have_a_gradient_and_the_generator_selects_them():
    criterion, labels = sampled_criterion(0.2), torch.tensor([3, 7])
    loss, _ = criterion(torch.randn(2, 8), Step(labels, torch.Generator().manual_seed(1)))
    loss.backward()
    assert criterion.class_centers.grad.is_sparse
    moved = set(criterion.class_centers.grad.to_dense().abs().sum(dim=1).nonzero()[:, 0].tolist())
    assert moved == set(criterion._sample_classes(labels, torch.Generator().manual_seed(1)).tolist())
    assert moved != set(criterion._sample_classes(labels, torch.Generator().manual_seed(2)).tolist())


def test_all_classes_of_the_batch_are_kept_above_the_sample_rate():
    criterion, labels = sampled_criterion(0.02), torch.arange(20)
    assert criterion._sample_classes(labels, torch.Generator()).tolist() == list(range(20))


@pytest.mark.parametrize("sample_rate", [0.0, -1.0, 1.5])
def test_invalid_sample_rate_is_rejected(sample_rate):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        sampled_criterion(sample_rate)
