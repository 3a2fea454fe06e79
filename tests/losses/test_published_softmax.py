"""The losses around a margin softmax give what the authors' own code gives, to 1e-9, unless a test says otherwise."""

import pytest
import torch
from published import VALUES, assert_agrees, gradient, inputs, outputs

from triplet_distillation import registry
from triplet_distillation.losses import LossContext, Step
from triplet_distillation.losses.softmax import soft_target_loss

FLOAT32 = 1e-6
"""Where the published code ran in mxnet, which computes in float32."""


@pytest.fixture(autouse=True)
def float64():
    """Published numbers are read in full precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(name, batch, centers=None, **settings):
    """The loss ``name`` in float64, with the published centers as the student's and as the teacher's."""
    size = batch["student"].shape[1]
    identities = int(batch["labels"].max()) + 1 if centers is None else len(centers)
    context = LossContext(identities, size, teacher_sizes=(size,), student_centers=centers, class_centers=centers)
    return registry.load("losses", name)(context, **settings).double()


def step_of(batch):
    labels = batch.get("labels", torch.zeros(len(batch["student"]), dtype=torch.int64))
    return Step(labels, torch.Generator(), (batch.get("teacher", torch.zeros_like(batch["student"])),))


@pytest.mark.parametrize(
    ("published", "name", "settings"),
    [
        ("arcdistill", "center_distillation", {"softmax": "arcface"}),
        ("cosdistill", "center_distillation", {"softmax": "cosface"}),
        ("arcface", "arcface", {}),
        ("cosface", "cosface", {}),
    ],
)
def test_margin_softmax(published, name, settings):
    """The defaults are the published settings; ArcFace's and CosFace's published gradient is not the formula's."""
    (batch,), (expected,) = inputs(published), outputs(published)
    criterion = build(name, batch, batch["centers"], **settings)
    assert {"margin": criterion.margin, "scale": criterion.scale} == VALUES[published]["settings"]
    loss, found, _ = gradient(criterion, batch["student"], step_of(batch))
    assert_agrees(loss, expected["loss"])
    if "gradient" in expected:
        assert_agrees(found, expected["gradient"])


@pytest.mark.parametrize("softmax", ["arcface", "cosface"])
def test_adadistill(softmax):
    published = f"adadistill_{softmax}"
    settings, batches = VALUES[published]["settings"], inputs(published)
    start = torch.tensor(settings["initial_centers"]).double()
    criterion = build("adadistill", batches[0], start, softmax=softmax)
    assert (criterion.margin, criterion.scale) == (settings["margin"], settings["scale"])
    criterion.class_centers = torch.tensor(settings["initial_centers"], dtype=torch.float64)
    for batch, expected in zip(batches, outputs(published), strict=True):
        loss, found, log = gradient(criterion, batch["student"], step_of(batch))
        assert_agrees(loss, expected["loss"])
        assert_agrees(found, expected["gradient"])
        assert_agrees(criterion.class_centers, expected["centers_after"])
        assert_agrees(log["alpha"], expected["mean_alpha"])
        assert_agrees(log["alpha_weighted"], expected["mean_alpha_weighted"])
        assert_agrees(log["center_cosine"], expected["mean_center_similarity"])


def test_adaface():
    """Its published gradient is not the formula's."""
    batches, settings = inputs("adaface"), VALUES["adaface"]["settings"]
    criterion = build("adaface", batches[0], batches[0]["centers"])
    assert settings == {
        "h": criterion.concentration,
        "margin": criterion.margin,
        "scale": criterion.scale,
        "t_alpha": criterion.batch_weight,
    }
    for batch, expected in zip(batches, outputs("adaface"), strict=True):
        loss, log = criterion(batch["student"], step_of(batch))
        assert_agrees(loss.detach(), expected["loss"])
        assert_agrees(log["norm_mean"], expected["norm_mean"])
        assert_agrees(log["norm_std"], expected["norm_std"])


def test_angular_distance():
    (batch,), (expected,) = inputs("angular"), outputs("angular")
    criterion = build("embedding_regression", {**batch, "labels": torch.zeros(1)}, distance="cosine")
    loss, found, _ = gradient(criterion, batch["student"], step_of(batch))
    assert_agrees(loss, expected["loss"])
    assert_agrees(found, expected["gradient"])


def test_angular_distillation():
    """MarginDistillation's repository, so mxnet: its cosine is a float32 number, which others would hardly be."""
    (batch,), (expected,) = inputs("angular_distillation"), outputs("angular_distillation")
    criterion = build("angular_distillation", batch, batch["centers"])
    loss, log = criterion(batch["student"], step_of(batch))
    assert torch.tensor(expected["cosine"], dtype=torch.float32).item() == expected["cosine"]
    assert_agrees(loss.detach(), expected["loss"], FLOAT32)
    assert_agrees(log["margin_softmax"], expected["margin_softmax"], FLOAT32)
    assert_agrees(log["distillation"], expected["cosine"], FLOAT32)


def test_margin_distillation():
    """Margins and loss from mxnet."""
    (batch,), (expected,) = inputs("margindistillation"), outputs("margindistillation")
    criterion = build("margin_distillation", batch, batch["centers"])
    settings = VALUES["margindistillation"]["settings"]
    assert [criterion.min_margin, criterion.max_margin, criterion.scale] == [
        settings[key] for key in ("minimum_margin", "maximum_margin", "scale")
    ]
    loss, _ = criterion(batch["student"], step_of(batch))
    assert_agrees(criterion.margins(batch["teacher"], batch["labels"]), expected["margins"], FLOAT32)
    assert_agrees(loss.detach(), expected["loss"], FLOAT32)


def test_hintons_soft_targets():
    (batch,), (expected,) = inputs("hinton_kl"), outputs("hinton_kl")
    logits = batch["student_logits"].requires_grad_()
    loss = soft_target_loss(logits, batch["teacher_logits"], VALUES["hinton_kl"]["settings"]["temperature"])
    (found,) = torch.autograd.grad(loss, logits)
    assert_agrees(loss.detach(), expected["loss"])
    assert_agrees(found, expected["gradient"])
