"""Eqs. 1–4 against plain loops over all triplets of a batch."""

import itertools
import math

import numpy as np
import pytest
import torch

from triplet_distillation.losses import LossContext, Step, distances, triplets
from triplet_distillation.losses.triplet import TripletMarginLoss
from triplet_distillation.losses.triplet_distillation import TripletDistillationLoss

LABELS = [0, 0, 0, 1, 1, 2, 2, 3]
DISTANCES = {
    "squared_euclidean": lambda u, v: ((u - v) ** 2).sum(),
    "euclidean": lambda u, v: np.linalg.norm(u - v),
    "cosine": lambda u, v: 1 - u @ v,
    "angular": lambda u, v: math.acos(u @ v),
}


def batch(seed=0, size=6):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(len(LABELS), size, generator=generator, dtype=torch.float64)
    return embeddings, torch.tensor(LABELS)


def triplets_by_definition():
    """Valid (anchor, positive, negative) triplets of the batch, by definition."""
    for a, p, n in itertools.permutations(range(len(LABELS)), 3):
        if LABELS[a] == LABELS[p] != LABELS[n]:
            yield a, p, n


def normalized(embeddings):
    return (embeddings / embeddings.norm(dim=1, keepdim=True)).numpy()


def gaps(embeddings, distance):
    """D(a, n) − D(a, p) of every triplet."""
    unit, measure = normalized(embeddings), DISTANCES[distance]
    return {(a, p, n): measure(unit[a], unit[n]) - measure(unit[a], unit[p]) for a, p, n in triplets_by_definition()}


def make_generator():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("distance", DISTANCES)
def test_pairwise_distances(distance):
    embeddings, _ = batch()
    unit = normalized(embeddings)
    found = distances.pairwise_distances(embeddings, distance)
    for i, j in itertools.permutations(range(len(LABELS)), 2):
        assert math.isclose(found[i, j].item(), DISTANCES[distance](unit[i], unit[j]), rel_tol=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("margin", [0.3, 0.5])
def test_fixed_margin_matches_equation_1(distance, margin):
    embeddings, labels = batch()
    loss, log = TripletMarginLoss(LossContext(4, 6), margin=margin, distance=distance)(
        embeddings, Step(labels, make_generator())
    )
    hinges = [max(margin - gap, 0) for gap in gaps(embeddings, distance).values()]
    assert math.isclose(loss.item(), np.mean(hinges), rel_tol=1e-9)
    assert math.isclose(log["active"].item(), np.mean([hinge > 0 for hinge in hinges]), rel_tol=1e-6)


@pytest.mark.parametrize("distance", DISTANCES)
def test_distillation_matches_equations_2_to_4(distance):
    embeddings, labels = batch()
    teacher, _ = batch(seed=5, size=9)
    context = LossContext(4, 6, min_margin=0.2, max_margin=0.5)
    loss, _ = TripletDistillationLoss(context, distance=distance)(
        embeddings, Step(labels, make_generator(), (teacher,))
    )
    d = {triplet: max(gap, 0) for triplet, gap in gaps(teacher, distance).items()}
    largest = max(d.values())
    student = gaps(embeddings, distance)
    hinges = [
        max((0.5 - 0.2) / largest * d[triplet] + 0.2 - student[triplet], 0) for triplet in triplets_by_definition()
    ]
    assert math.isclose(loss.item(), np.mean(hinges), rel_tol=1e-9)


def test_distillation_with_equal_margins_matches_the_fixed_margin():
    embeddings, labels = batch()
    teacher, _ = batch(seed=5)
    context = LossContext(4, 6, min_margin=0.4, max_margin=0.4)
    distilled, _ = TripletDistillationLoss(context)(embeddings, Step(labels, make_generator(), (teacher,)))
    fixed, _ = TripletMarginLoss(LossContext(4, 6), margin=0.4)(embeddings, Step(labels, make_generator()))
    assert distilled.item() == pytest.approx(fixed.item(), rel=1e-12)


@pytest.mark.parametrize("d_max", ["batch", "training_set"])
@pytest.mark.parametrize(
    ("shape", "function"), [("linear", lambda x: x), ("square_root", math.sqrt), ("constant", lambda x: 0.5)]
)
def test_distillation_with_other_margins(shape, function, d_max):
    embeddings, labels = batch()
    teacher, _ = batch(seed=5, size=9)
    d = {triplet: max(gap, 0) for triplet, gap in gaps(teacher, "squared_euclidean").items()}
    context = LossContext(4, 6, min_margin=0.2, max_margin=0.5, largest_gap=0.6 * max(d.values()))
    method = TripletDistillationLoss(context, shape=shape, d_max=d_max, min_margin=0.1)
    loss, log = method(embeddings, Step(labels, make_generator(), (teacher,)))
    largest = max(d.values()) if d_max == "batch" else context.largest_gap
    margins = {triplet: 0.1 + (0.5 - 0.1) * function(min(gap / largest, 1)) for triplet, gap in d.items()}
    student = gaps(embeddings, "squared_euclidean")
    assert loss.item() == pytest.approx(np.mean([max(margins[t] - student[t], 0) for t in margins]), rel=1e-9)
    assert log["margin"].item() == pytest.approx(np.mean(list(margins.values())))


def test_margins_that_are_no_range_are_rejected():
    context = LossContext(4, 6, min_margin=0.2, max_margin=0.5)
    with pytest.raises(ValueError, match=r"min_margin 0\.6 is above max_margin 0\.5"):
        TripletDistillationLoss(context, min_margin=0.6)
    with pytest.raises(ValueError, match="d_max: training_set needs"):
        TripletDistillationLoss(context, d_max="training_set")


def test_teacher_that_misjudges_every_triplet_gives_the_minimum_margin():
    labels = torch.tensor([0, 0, 1])
    teacher = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.1]])
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, -1.0]])
    context = LossContext(2, 2, min_margin=0.25, max_margin=0.5)
    _, log = TripletDistillationLoss(context)(embeddings, Step(labels, make_generator(), (teacher,)))
    # d = 0 for both triplets: the squared distance is 4 to the positive and less to the negative
    assert log["margin"].item() == pytest.approx(0.25)


def test_gradient_reaches_the_student_but_not_the_teacher():
    embeddings, labels = batch()
    teacher, _ = batch(seed=5)
    embeddings.requires_grad_()
    teacher.requires_grad_()
    context = LossContext(4, 6, min_margin=0.2, max_margin=0.5)
    TripletDistillationLoss(context)(embeddings, Step(labels, make_generator(), (teacher,)))[0].backward()
    assert teacher.grad is None
    assert embeddings.grad.abs().sum() > 0


def mine(mining, margin=0.4, num_triplets=10):
    """The triplets that a mining strategy chooses, and the gaps of all triplets."""
    embeddings, labels = batch()
    candidates = triplets.all_triplets(labels)
    gap = candidates.gap(distances.pairwise_distances(embeddings, "squared_euclidean"))
    mask = triplets.MINERS[mining](candidates, gap, margin, num_triplets, make_generator())
    rows, columns = mask.nonzero(as_tuple=True)
    return {
        (candidates.anchors[row].item(), candidates.positives[row].item(), column.item())
        for row, column in zip(rows, columns)
    }, gaps(embeddings, "squared_euclidean")


def test_all_mining_takes_every_valid_triplet():
    chosen, all_gaps = mine("all")
    assert chosen == set(all_gaps)


def test_semihard_mining_takes_negatives_beyond_the_positive_within_the_margin():
    chosen, all_gaps = mine("semihard")
    assert chosen == {triplet for triplet, gap in all_gaps.items() if 0 < gap < 0.4}
    assert chosen


def test_batch_hard_mining_takes_each_anchors_farthest_positive_and_nearest_negative():
    chosen, all_gaps = mine("batch_hard")
    expected = set()
    for anchor in {a for a, _, _ in all_gaps}:
        expected.add(min((triplet for triplet in all_gaps if triplet[0] == anchor), key=all_gaps.get))
    assert chosen == expected


def test_random_mining_takes_the_requested_number_and_is_reproducible():
    chosen, all_gaps = mine("random")
    assert len(chosen) == 10
    assert chosen < set(all_gaps)
    assert chosen == mine("random")[0]


def test_batch_without_triplets_has_zero_loss_and_a_gradient():
    embeddings, _ = batch()
    embeddings.requires_grad_()
    loss, log = TripletMarginLoss(LossContext(8, 6), margin=0.4)(embeddings, Step(torch.arange(8), make_generator()))
    loss.backward()
    assert loss.item() == 0
    assert log["active"].item() == 0
    assert embeddings.grad.abs().max() == 0


def test_unknown_names_are_rejected_with_the_valid_ones():
    embeddings, labels = batch()
    with pytest.raises(ValueError, match="squared_euclidean"):
        TripletMarginLoss(LossContext(4, 6), margin=0.4, distance="euclid")(embeddings, Step(labels, make_generator()))
    with pytest.raises(ValueError, match="semihard"):
        TripletMarginLoss(LossContext(4, 6), margin=0.4, mining="hard")(embeddings, Step(labels, make_generator()))


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("mining", ["all", "semihard", "batch_hard", "random"])
@pytest.mark.parametrize("distilled", [False, True])
def test_gradient_matches_finite_differences(distance, mining, distilled):
    embeddings, labels = batch()
    teacher, _ = batch(seed=5, size=9)
    context = LossContext(4, 6, min_margin=0.2, max_margin=0.5)
    settings = {"distance": distance, "mining": mining, "num_triplets": 10}
    criterion = (
        TripletDistillationLoss(context, **settings)
        if distilled
        else TripletMarginLoss(context, margin=0.4, **settings)
    )

    def loss(e):
        return criterion(e, Step(labels, make_generator(), (teacher,)))[0]

    assert torch.autograd.gradcheck(loss, embeddings.requires_grad_(), fast_mode=True)
