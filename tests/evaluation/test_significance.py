"""Variances, intervals and verdicts against plain loops, textbook formulas and values by hand."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, nct, norm, t

from triplet_distillation.evaluation import significance, verification
from triplet_distillation.evaluation.significance import Estimate, Pairs, Run

MANY = 1e9
"""Degrees of freedom at which Student's t is normal."""


def independent_pairs(count):
    """Pairs of which no two share a person; every second one is genuine."""
    first = np.arange(count)
    same = first % 2 == 0
    return Pairs(same, first, np.where(same, first, count + first))


def random_pairs(random, people, count):
    """Pairs that share people, with repeated ones in either order."""
    first, second = random.integers(0, people, (2, count))
    return Pairs(first == second, first, second)


def make_scores(random, pairs=150, digits=1):
    """Scores with ties, and which pairs are genuine."""
    same = random.random(pairs) < 0.5
    return np.round(random.normal(same * 0.8, 0.6), digits), same


def make_run(value=0.0, influence=(0.0, 0.0), number=0, share=0.1):
    """A run on two pairs of four people."""
    pairs = Pairs(np.array([False, False]), np.array([5, 7]), np.array([6, 8]))
    return Run(number, value, np.array(influence), pairs, share, number)


def chain(people):
    """Pairs of people that follow each other."""
    first = np.arange(people - 1)
    return Pairs(np.zeros(people - 1, bool), first, first + 1)


def test_people_are_counted_once():
    assert Pairs(np.array([True, False, False]), np.array([3, 3, 9]), np.array([3, 9, 4])).num_identities == 3


def test_difference_of_two_models():
    first, second = make_run(0.9, (0.3, -0.3), number=4), make_run(0.7, (0.1, -0.1), number=4)
    difference = first.minus(second)
    assert difference.value == pytest.approx(0.2)
    assert difference.influence == pytest.approx([0.2, -0.2])
    assert (difference.round, difference.left_out, difference.pairs) == (4, 0.1, first.pairs)


def test_accuracy_by_hand():
    value, influence = significance.accuracy(np.array([True, True, False, True]))
    assert value == 0.75
    assert influence == pytest.approx([1 / 16, 1 / 16, -3 / 16, 1 / 16])


@pytest.mark.parametrize("seed", range(8))
def test_identity_variance_is_the_sum_over_pairs_that_share_a_person(seed):
    random = np.random.default_rng(seed)
    pairs = random_pairs(random, 9, 60)
    influence = random.normal(size=60)
    influence -= influence.mean()
    both = [{a, b} for a, b in zip(pairs.first, pairs.second)]
    total = sum(influence[p] * influence[q] for p, q in itertools.product(range(60), repeat=2) if both[p] & both[q])
    assert significance.identity_variance(influence, pairs) == pytest.approx(max(0, total * 9 / 8), abs=1e-12)


def test_identity_variance_of_independent_pairs_is_binomial():
    correct = np.arange(400) % 10 > 0
    _, influence = significance.accuracy(correct)
    pairs = independent_pairs(400)
    expected = 0.9 * 0.1 / 400 * pairs.num_identities / (pairs.num_identities - 1)
    assert significance.identity_variance(influence, pairs) == pytest.approx(expected)


def test_people_have_names_of_any_size():
    pairs = random_pairs(np.random.default_rng(0), 9, 60)
    influence = np.linspace(-1, 1, 60)
    names = np.array([10**9 + 7 * person for person in range(9)])
    renamed = Pairs(pairs.same, names[pairs.first], names[pairs.second])
    assert significance.identity_variance(influence, renamed) == significance.identity_variance(influence, pairs)


@pytest.mark.parametrize("seed", range(5))
def test_influence_on_auc_is_the_jackknife(seed):
    scores, same = make_scores(np.random.default_rng(seed))
    area, influence = significance.auc(scores, same)
    assert area == pytest.approx(verification.area_under_curve(verification.roc(scores, same)))
    for pair in range(len(scores)):
        rest = np.arange(len(scores)) != pair
        of_its_kind = (same == same[pair]).sum()
        without, _ = significance.auc(scores[rest], same[rest])
        assert influence[pair] == pytest.approx((area - without) * (of_its_kind - 1) / of_its_kind, abs=1e-12)
    assert influence[same].sum() == pytest.approx(0, abs=1e-12)
    assert influence[~same].sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("digits", [1, 8])
def test_true_accept_rates_are_those_of_the_roc(digits):
    fars = np.array([0.01, 0.1, 0.3, 0.8, 1.0])
    scores, same = make_scores(np.random.default_rng(3), 3000, digits)
    rates, influences = significance.true_accept_rates(scores, same, fars)
    curve = verification.roc(scores, same)
    impostors = int((~same).sum())
    assert rates.tolist() == [verification.tar_at_far(curve, far, impostors) for far in fars]
    assert influences.shape == (5, 3000)
    assert influences[:, same].sum(1) == pytest.approx(0, abs=1e-12)
    assert influences[:, ~same].sum(1) == pytest.approx(0, abs=1e-12)


def test_variance_of_true_accept_rates_is_that_over_samples():
    """Influences give the variance that many samples of independent pairs show, the threshold's part included."""
    random = np.random.default_rng(0)
    same = np.arange(4000) % 2 == 0
    fars = np.array([0.02, 0.1])
    rates, variances = [], []
    for _ in range(300):
        found, influences = significance.true_accept_rates(random.normal(same * 1.5, 1), same, fars)
        rates.append(found)
        variances.append((influences**2).sum(1))
    # the deviation of 300 samples is known to 4%
    assert np.std(rates, axis=0, ddof=1) == pytest.approx(np.sqrt(np.mean(variances, axis=0)), rel=0.12)
    expected = norm.sf(norm.isf(fars) - 1.5)
    alone = np.sqrt(expected * (1 - expected) / 2000)
    assert (np.sqrt(np.mean(variances, axis=0)) > 1.2 * alone).all()


def test_estimate_on_one_test_set_by_hand():
    runs = [make_run(value, (influence, -influence)) for value, influence in ((0.02, 0.1), (0.04, 0.2), (0.09, 0.3))]
    found = significance.estimate(runs)
    of_runs = (0.03**2 + 0.01**2 + 0.04**2) / 2 / 3
    of_identities = (0.2**2 + 0.2**2) * (4 / 3)  # no person is in both pairs; mean influences 0.2 and -0.2
    assert found.mean == pytest.approx(0.05)
    assert found.variance == pytest.approx(of_runs + of_identities)
    assert found.freedom == pytest.approx((of_runs + of_identities) ** 2 / (of_runs**2 / 2 + of_identities**2 / 3))
    assert found.num_identities == 4


def test_estimate_of_one_run_has_the_variance_of_identities_only():
    found = significance.estimate([make_run(0.3, (0.2, -0.2))])
    assert found == pytest.approx((0.3, 0.08 * 4 / 3, 3, 4))


def test_estimate_over_rounds_by_hand():
    values = [(0, 0.1), (0, 0.3), (1, 0.0), (1, 0.1), (2, 0.5), (2, 0.6)]
    found = significance.estimate([make_run(value, (9.0, -9.0), number, 0.5) for number, value in values])
    means = np.array([0.2, 0.05, 0.55])
    variance = ((means - means.mean()) ** 2).sum() / 2 * (1 / 3 + 0.5)
    assert found[:3] == pytest.approx((means.mean(), variance, 2))


@pytest.mark.parametrize("value", [0.1, 0.125])
def test_equal_rounds_have_no_variance(value):
    """Whether 0.1 has an exact mean must not decide between p = 1 and p = 0."""
    found = significance.estimate([make_run(value, number=number) for number in range(3)])
    assert found.variance == 0
    assert significance.p_value(found) == 1


def test_degrees_of_freedom_are_those_of_the_larger_variance():
    runs = [make_run(value) for value in (0.1, 0.2, 0.4)]
    assert significance.estimate(runs).freedom == pytest.approx(2)
    same_value = [make_run(0.1, (0.1, -0.1)) for _ in range(3)]
    assert significance.estimate(same_value).freedom == pytest.approx(3)
    assert significance.estimate([make_run(0.1) for _ in range(3)]).freedom == 3
    between = [make_run(value, (0.05, -0.05)) for value in (0.1, 0.2, 0.4)]
    assert 2 < significance.estimate(between).freedom < 5


@pytest.mark.parametrize(("freedom", "quantile"), [(2, 4.303), (4, 2.776), (10, 2.228), (MANY, 1.960)])
def test_interval_has_the_quantiles_of_a_table(freedom, quantile):
    found = significance.interval(Estimate(1.0, 0.04, freedom, 40))
    assert found == pytest.approx((1.0, 1 - 0.2 * quantile, 1 + 0.2 * quantile), abs=2e-4)


@pytest.mark.parametrize(("correct", "count"), [(95, 100), (990, 1000), (999, 1000), (1, 30), (15, 30), (29, 30)])
def test_rate_interval_of_independent_observations_is_wilsons(correct, count):
    rate = correct / count
    found = significance.rate_interval(Estimate(rate, rate * (1 - rate) / count, MANY, count))
    wilson = binomtest(correct, count).proportion_ci(method="wilson")
    assert found == pytest.approx((rate, wilson.low, wilson.high), abs=1e-7)


def test_a_person_counts_for_few_observations_near_1():
    """A variance that is too small, because nobody who is often mistaken was drawn, does not shrink the interval."""
    found = significance.rate_interval(Estimate(0.99, 1e-9, MANY, 40))
    wilson = significance.rate_interval(Estimate(0.99, 0.99 * 0.01 / (significance.OBSERVATIONS * 40), MANY, 40))
    assert found == pytest.approx(wilson)


@pytest.mark.parametrize("correct", [0, 40])
def test_rate_without_variance_is_no_certainty(correct):
    found = significance.rate_interval(Estimate(correct / 40, 0.0, MANY, 40))
    count = significance.OBSERVATIONS
    wilson = binomtest(count * correct, count * 40).proportion_ci(method="wilson")
    assert found == pytest.approx((correct / 40, wilson.low, wilson.high), abs=1e-7)


@pytest.mark.parametrize("runs", [1, 3])
def test_interval_does_not_jump_at_exactly_1(runs):
    """More runs without an error give no wider interval, and one error among many pairs hardly another one."""
    value, influence = significance.accuracy(np.ones(39, bool))
    found = significance.rate_interval(significance.estimate([Run(0, value, influence, chain(40), 0.1, 0)] * runs))
    quantile = t.ppf(0.975, 39)
    assert found == pytest.approx((1, 1 / (1 + quantile**2 / (40 * significance.OBSERVATIONS)), 1))
    almost = significance.rate_interval(Estimate(1 - 1e-9, 1e-18, 39, 40))
    assert almost.low == pytest.approx(found.low)


def test_rate_interval_stays_within_0_and_1_and_contains_the_rate():
    rates = [0, 1e-12, 1e-6, 1e-3, 0.1, 0.5, 0.9, 0.99, 0.999999, 1 - 1e-12, 1]
    for rate, deviation, freedom in itertools.product(rates, [0, 1e-9, 1e-4, 0.01, 0.3], [1, 2.5, 39, MANY]):
        variance = deviation**2 if 0 < rate < 1 else 0.0
        found = significance.rate_interval(Estimate(rate, variance, freedom, 40))
        assert 0 <= found.low <= rate <= found.high <= 1, (rate, deviation, freedom)


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 11, 200])
def test_p_value_and_interval_say_the_same(freedom):
    for mean in np.linspace(-15, 15, 121):
        found = Estimate(mean, 0.81, freedom, 40)
        interval = significance.interval(found)
        assert (significance.p_value(found) < 0.05) == (not interval.low <= 0 <= interval.high)
        assert significance.p_value(found) == pytest.approx(2 * t.sf(abs(mean) / 0.9, freedom))


def test_no_difference_in_any_run_has_p_1():
    assert significance.p_value(significance.estimate([make_run() for _ in range(3)])) == 1


@pytest.mark.parametrize(("freedom", "level"), [(30, 0.05), (1000, 0.05), (1000, 0.01)])
def test_detectable_difference_has_80_percent_power(freedom, level):
    found = Estimate(0.0, 0.25, freedom, 40)
    shift = significance.detectable(found, level) / 0.5
    power = nct.sf(t.ppf(1 - level / 2, freedom), freedom, shift)
    assert power == pytest.approx(0.8, abs=0.01)


def test_holm_by_hand():
    corrected = significance.holm(np.array([0.04, 0.01, 0.03]))
    assert corrected == pytest.approx([0.06, 0.03, 0.06])


@pytest.mark.parametrize(
    ("p", "expected"),
    [([0.2], [0.2]), ([], []), ([0.5, 0.9], [1, 1]), ([0.01, 0.01], [0.02, 0.02]), ([0.05, 0.001], [0.05, 0.002])],
)
def test_holm_of_small_families(p, expected):
    assert significance.holm(np.array(p)) == pytest.approx(expected)


def test_which_runs_give_no_verdict():
    def runs(rounds, people):
        pairs = chain(people)
        return [
            Run(number, 0.1 * index, np.zeros(len(pairs.same)), pairs, 0.1, number)
            for index, number in enumerate(rounds)
        ]

    assert significance.reason_for_no_verdict(runs([0], 40)) == "1 run"
    assert significance.reason_for_no_verdict(runs([0, 0], 40)) == "2 runs"
    assert significance.reason_for_no_verdict(runs([0, 1], 40)) == "2 rounds"
    assert significance.reason_for_no_verdict(runs([0, 0, 0, 1, 1, 1], 40)) == "2 rounds"
    assert significance.reason_for_no_verdict(runs([0, 0, 0], 9)) == "9 people"
    assert significance.reason_for_no_verdict(runs([0, 0, 0], 10)) == ""
    assert significance.reason_for_no_verdict(runs([0, 1, 2], 4)) == ""
    assert significance.reason_for_no_verdict(3 * runs([0], 40)) == "no run differs"


@pytest.mark.parametrize(
    ("difference", "p", "verdict"),
    [(1, 0.01, "supported"), (-1, 0.01, "contradicted"), (1, 0.2, "undecided"), (-1, 0.05, "undecided")],
)
def test_verdict(difference, p, verdict):
    assert significance.verdict(difference, p) == verdict
