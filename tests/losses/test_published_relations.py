"""Losses on relations between embeddings give the loss, gradient and state of the authors' own code."""

import published
import pytest
import torch
from torch.nn import functional

from triplet_distillation import registry
from triplet_distillation.losses import LossContext, Step
from triplet_distillation.losses.distances import pairwise_distances
from triplet_distillation.losses.triplet_distillation import Margins
from triplet_distillation.losses.triplets import Mining, Triplets, triplet_margin_loss

RELATIONS = {
    "rkd": ("rkd", {}),
    "rkd_distance": ("rkd", {"distance_weight": 1, "angle_weight": 0}),
    "rkd_angle": ("rkd", {"distance_weight": 0, "angle_weight": 1}),
    "darkrank_hard": ("darkrank", {}),
    "correlation_congruence": ("correlation_congruence", {"order": 1}),
    "similarity_preserving": ("similarity_preserving", {}),
}
"""Published values to the method and its settings, where they are not the defaults."""


@pytest.fixture(autouse=True)
def double_precision():
    """Numbers and new tensors are float64, so that nothing is rounded on the way."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_agree(name):
    (given,), (expected,) = published.inputs(name), published.outputs(name)
    method, settings = RELATIONS[name]
    student, teacher = given["student"], given["teacher"]
    criterion = registry.load("losses", method)(
        LossContext(6, student.shape[1], teacher_sizes=(teacher.shape[1],)), **settings
    )
    step = Step(torch.arange(len(student)), torch.Generator(), (functional.normalize(teacher),))
    loss, gradient, _ = published.gradient(criterion, student, step)
    published.assert_agrees(loss, expected["loss"])
    published.assert_agrees(gradient, expected["gradient"])


def test_ekd_agrees_over_two_steps():
    given, expected = published.inputs("ekd"), published.outputs("ekd")
    settings = published.VALUES["ekd"]["settings"]
    context = LossContext(6, given[0]["student"].shape[1], teacher_sizes=(given[0]["teacher"].shape[1],))
    criterion = registry.load("losses", "ekd")(
        context,
        anchors=settings["anchors"],
        genuine_weight=settings["positive_weight"],
        impostor_weight=settings["negative_weight"],
        hardest_impostors=settings["topk"],
        temperature=settings["temperature"],
        momentum=settings["momentum"],
    )
    for step, result in zip(given, expected, strict=True):
        embeddings = step["student"].clone().requires_grad_()
        loss, _ = criterion.relations(embeddings, step["teacher"], step["labels"])
        (gradient,) = torch.autograd.grad(loss, embeddings)
        published.assert_agrees(loss.detach(), result["loss"])
        published.assert_agrees(gradient, result["gradient"])
        for thresholds in ("student_thresholds", "teacher_thresholds"):
            published.assert_agrees(getattr(criterion, thresholds), result[thresholds])


def given_triplets(count: int) -> Triplets:
    """The triplets (i, count + i, 2 · count + i) and no other, as a table."""
    anchors = torch.arange(count)
    valid = torch.zeros(count, 3 * count, dtype=torch.bool)
    valid[anchors, 2 * count + anchors] = True
    return Triplets(anchors, count + anchors, valid)


@pytest.mark.parametrize(
    "name", ["triplet_fixed", "atriplet_fixed", "triplet_distillation_L2", "triplet_distillation_cos"]
)
def test_triplets_agree(name):
    """To 1e-6: like all of that repository's, they were computed by mxnet in float32."""
    (given,), (expected,) = published.inputs(name), published.outputs(name)
    settings = published.VALUES[name]["settings"]
    triplets = given_triplets(given["triplets"])
    if "margin" in settings:
        margins = settings["margin"]
    else:
        bounds = Margins(settings["minimum_margin"], settings["maximum_margin"])
        margins = bounds.of(triplets, given["teacher"], settings["distance"])
        published.assert_agrees(margins[triplets.valid], expected["margins"], relative=1e-6)
    distances = pairwise_distances(given["student"], settings["distance"])
    loss, _ = triplet_margin_loss(triplets, distances, margins, Mining("all", 0), None)
    published.assert_agrees(loss, expected["loss"], relative=1e-6)
