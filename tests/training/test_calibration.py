"""The 1000 triplets and the margins measured from them (§4.1)."""

import numpy as np
import pytest

from triplet_distillation.training import calibration

LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 2, 2])


def test_drawn_triplets_are_valid_and_cover_all():
    drawn = calibration.draw_triplets(LABELS, 2000, seed=0)
    anchor, positive, negative = drawn.T
    assert (LABELS[anchor] == LABELS[positive]).all()
    assert (anchor != positive).all()
    assert (LABELS[anchor] != LABELS[negative]).all()
    possible = {
        (a, p, n)
        for a in range(9)
        for p in range(9)
        for n in range(9)
        if a != p and LABELS[a] == LABELS[p] != LABELS[n]
    }
    assert set(map(tuple, drawn.tolist())) == possible


def test_triplets_depend_only_on_the_seed():
    assert np.array_equal(calibration.draw_triplets(LABELS, 50, 4), calibration.draw_triplets(LABELS, 50, 4))
    assert not np.array_equal(calibration.draw_triplets(LABELS, 50, 4), calibration.draw_triplets(LABELS, 50, 5))


def test_labels_without_positives_or_negatives_are_rejected():
    with pytest.raises(ValueError, match="two identities"):
        calibration.draw_triplets(np.arange(5), 10, 0)
    with pytest.raises(ValueError, match="two identities"):
        calibration.draw_triplets(np.zeros(5, int), 10, 0)


def test_d_matches_its_definition():
    teacher = np.random.default_rng(0).normal(size=(9, 4))
    teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
    drawn = calibration.draw_triplets(LABELS, 100, 0)
    table = calibration.measure(teacher, drawn, "squared_euclidean")
    for (a, p, n), d in zip(drawn, table.d):
        gap = ((teacher[a] - teacher[n]) ** 2).sum() - ((teacher[a] - teacher[p]) ** 2).sum()
        assert d == pytest.approx(max(gap, 0))


def test_margins_by_mode():
    d = np.linspace(0.1, 1.1, 1001)
    measured = calibration.margins(d, "measured", [0.0, 1.0])
    assert (measured["min_margin"], measured["max_margin"]) == pytest.approx((0.1, 1.1))
    robust = calibration.margins(d, "measured", [0.05, 0.95])
    assert (robust["min_margin"], robust["max_margin"]) == pytest.approx((0.15, 1.05))
    paper = calibration.margins(d, "paper", [0.0, 1.0])
    assert (paper["min_margin"], paper["max_margin"]) == (0.2, 0.5)
    assert paper["measured"] == pytest.approx((0.1, 1.1))


def test_teacher_that_separates_nothing_is_rejected():
    with pytest.raises(ValueError, match="not a valid range"):
        calibration.margins(np.zeros(10), "measured", [0.0, 1.0])
