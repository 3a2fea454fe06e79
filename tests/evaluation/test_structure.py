"""The similarity structure's measures against their definitions, and their variance against the jackknife itself."""

import itertools

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from triplet_distillation.evaluation import significance, structure
from triplet_distillation.evaluation.significance import Run, identity_variance


def random_distances(number, seed, decimals=8):
    """Distances between random people; with few decimals, many are equal."""
    means = structure.normalize(np.random.default_rng(seed).normal(size=(number, 5)))
    return structure.identity_distances(means).round(decimals)


def without(distances, identity):
    kept = np.arange(len(distances)) != identity
    return distances[np.ix_(kept, kept)]


def spearman(teacher, student):
    upper = np.triu_indices(len(teacher), 1)
    return spearmanr(teacher[upper], student[upper]).statistic


def agreement(teacher, student):
    """By counting, one triplet at a time."""
    found = []
    for anchor in range(len(teacher)):
        others = [other for other in range(len(teacher)) if other != anchor]
        for b, c in itertools.combinations(others, 2):
            order = [np.sign(each[anchor, b] - each[anchor, c]) for each in (teacher, student)]
            found.append(0.5 if 0 in order else float(order[0] == order[1]))
    return np.mean(found)


DEFINITIONS = {"rank correlation": spearman, "triplet agreement": agreement}


@pytest.mark.parametrize("decimals", [8, 0], ids=["distinct", "many ties"])
@pytest.mark.parametrize("name", structure.MEASURES)
def test_measures_and_influences_are_those_of_the_definition(name, decimals):
    teacher, student = random_distances(9, 0, decimals), random_distances(9, 1, decimals)
    value, influence = structure.MEASURES[name](teacher, student)
    define = DEFINITIONS[name]
    left_out = np.array([define(without(teacher, each), without(student, each)) for each in range(9)])
    assert value == pytest.approx(define(teacher, student), abs=1e-12)
    assert influence == pytest.approx(8 / 9 * (left_out.mean() - left_out), abs=1e-12)
    jackknife = 8 / 9 * ((left_out - left_out.mean()) ** 2).sum()
    assert identity_variance(influence, structure.as_pairs(np.arange(9))) == pytest.approx(jackknife, abs=1e-15)


def test_triplet_agreement_is_the_mean_of_kendalls_tau_over_anchors():
    teacher, student = random_distances(12, 2), random_distances(12, 3)
    taus = [kendalltau(np.delete(teacher[a], a), np.delete(student[a], a)).statistic for a in range(12)]
    assert structure.triplet_agreement(teacher, student)[0] == pytest.approx((1 + np.mean(taus)) / 2)


def test_order_alone_counts():
    teacher = random_distances(8, 4)
    for name, (_, best) in structure.RANGES.items():
        value, influence = structure.MEASURES[name](teacher, teacher**3)
        assert value == pytest.approx(best)
        assert influence == pytest.approx(0, abs=1e-12)
    reversed_order = 4 - teacher - 4 * np.eye(8)
    for name, (worst, _) in structure.RANGES.items():
        assert structure.MEASURES[name](teacher, reversed_order)[0] == pytest.approx(worst)


@pytest.mark.parametrize("name", structure.MEASURES)
@pytest.mark.parametrize(
    ("teacher", "student"),
    [(random_distances(3, 5), random_distances(3, 6)), (random_distances(1, 5), random_distances(1, 6))],
    ids=["three people", "one person"],
)
def test_too_few_people_have_no_measure(name, teacher, student):
    value, influence = structure.MEASURES[name](teacher, student)
    assert np.isnan(value)
    assert not influence.any()


def test_equal_distances_have_no_rank_correlation_and_agree_half():
    teacher, student = random_distances(6, 7), 1 - np.eye(6)
    assert np.isnan(structure.rank_correlation(teacher, student)[0])
    assert structure.triplet_agreement(teacher, student)[0] == 0.5


def test_distances_of_other_people_cannot_be_compared():
    for measure in structure.MEASURES.values():
        with pytest.raises(ValueError, match=r"\(5, 5\) and \(6, 6\) cannot be compared"):
            measure(random_distances(5, 0), random_distances(6, 0))


def test_identity_means_are_normalized_means_of_fused_faces():
    embeddings = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    labels = np.array([7, 2, 7, 7, 2])
    means = structure.identity_means(embeddings, labels, "add")
    unit = embeddings / np.linalg.norm(embeddings, axis=2, keepdims=True)
    faces = unit.sum(axis=1) / np.linalg.norm(unit.sum(axis=1), axis=1, keepdims=True)
    for mean, label in zip(means, (2, 7)):
        expected = faces[labels == label].mean(axis=0)
        assert mean == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    distances = structure.identity_distances(means)
    assert distances[0, 1] == pytest.approx(((means[0] - means[1]) ** 2).sum())
    assert (np.diag(distances) == 0).all()
    assert (distances == distances.T).all()


def test_what_has_no_mean_is_named():
    opposite = np.array([[[1.0, 0]], [[-1.0, 0]]]).repeat(2, axis=1)
    with pytest.raises(ValueError, match="identity 4 add up to zero"):
        structure.identity_means(opposite, np.array([4, 4]), "add")
    with pytest.raises(ValueError, match="2 embeddings, but 3 labels"):
        structure.identity_means(opposite, np.array([4, 4, 4]), "add")
    with pytest.raises(ValueError, match="unknown use of the flipped image"):
        structure.identity_means(opposite, np.array([4, 5]), "both")


def test_the_same_people_are_chosen_from_many_for_every_model():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(50), 3))
    chosen = structure.choose_identities(labels, seed=3, most=20)
    assert len(chosen) == 20
    assert (chosen == structure.choose_identities(np.sort(labels), seed=3, most=20)).all()
    assert (chosen != structure.choose_identities(labels, seed=4, most=20)).any()
    assert (structure.choose_identities(labels, seed=3) == np.arange(50)).all()


@pytest.mark.parametrize("name", structure.MEASURES)
def test_interval_covers_the_measure_of_the_population(name):
    """People are drawn from a population; a second network sees each with some noise of its own."""
    random = np.random.default_rng(11)

    def networks(number):
        people = random.normal(size=(number, 6))
        seen = (people, people + 0.7 * random.normal(size=people.shape))
        return [structure.identity_distances(structure.normalize(each)) for each in seen]

    truth = np.mean([structure.MEASURES[name](*networks(100))[0] for _ in range(20)])
    covered = []
    for _ in range(300):
        value, influence = structure.MEASURES[name](*networks(16))
        run = Run(0, value, influence, structure.as_pairs(np.arange(16)), 0.0, 0)
        found = significance.interval(significance.estimate([run]))
        covered.append(found.low <= truth <= found.high)
    assert 0.9 <= np.mean(covered) <= 0.995
