"""ArcFace against its formula in float64, sample by sample."""

import math

import numpy as np
import torch

from triplet_distillation.losses import Given
from triplet_distillation.losses.arcface import Loss


def reference(embeddings, centres, labels, scale, margin):
    total = 0.0
    for embedding, label in zip(embeddings, labels):
        cosines = [embedding @ c / np.linalg.norm(embedding) / np.linalg.norm(c) for c in centres]
        theta = math.acos(cosines[label])
        numerator = math.exp(scale * math.cos(theta + margin))
        others = sum(math.exp(scale * cosine) for j, cosine in enumerate(cosines) if j != label)
        total -= math.log(numerator / (numerator + others))
    return total / len(labels)


def loss_and_data(scale=16.0, margin=0.5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    loss = Loss(Given(classes=7, embedding_size=5), scale=scale, margin=margin).to(dtype)
    loss.centres.data = torch.randn(7, 5, generator=generator, dtype=dtype)
    embeddings = torch.randn(11, 5, generator=generator, dtype=dtype)
    labels = torch.randint(0, 7, (11,), generator=generator)
    return loss, embeddings, labels


def test_equals_the_formula():
    loss, embeddings, labels = loss_and_data()
    value, _ = loss(embeddings, labels, None, None)
    expected = reference(embeddings.numpy(), loss.centres.detach().numpy(), labels.tolist(), 16.0, 0.5)
    assert math.isclose(value.item(), expected, rel_tol=1e-9)


def test_float32_at_the_papers_scale_is_close_to_float64():
    loss, embeddings, labels = loss_and_data(scale=64.0)
    expected = reference(embeddings.numpy(), loss.centres.detach().numpy(), labels.tolist(), 64.0, 0.5)
    value, _ = loss.float()(embeddings.float(), labels, None, None)
    assert math.isclose(value.item(), expected, rel_tol=1e-5)


def test_gradient_by_finite_differences():
    loss, embeddings, labels = loss_and_data(scale=8.0)
    assert torch.autograd.gradcheck(lambda e: loss(e, labels, None, None)[0], embeddings.requires_grad_())


def test_gradient_is_finite_where_embedding_and_centre_coincide():
    loss, embeddings, labels = loss_and_data(scale=64.0, dtype=torch.float32)
    embeddings = loss.centres.detach()[labels].clone().requires_grad_()
    value, _ = loss(embeddings, labels, None, None)
    value.backward()
    assert torch.isfinite(embeddings.grad).all()
    assert torch.isfinite(loss.centres.grad).all()


def test_margin_makes_it_harder():
    loss, embeddings, labels = loss_and_data()
    without = Loss(Given(7, 5), scale=16.0, margin=0.0).double()
    without.centres.data = loss.centres.data
    assert loss(embeddings, labels, None, None)[0] > without(embeddings, labels, None, None)[0]
