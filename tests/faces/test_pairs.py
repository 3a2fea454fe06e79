"""Which identities are held out, which pairs are formed, and that training and test identities are disjoint."""

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from triplet_distillation.faces import pairs

IDENTITIES = np.array([f"p{number}" for number in range(12) for _ in range(5)])


def coded(identities):
    codes, names = pd.factorize(identities)
    return pairs.IdentityColumn(codes.astype(np.int32), names)


def old_held_out_pairs(identities, held_out, folds, seed):
    """From a list of all combinations of two faces."""
    random = np.random.default_rng([seed, 1])
    tables = []
    for fold, members in enumerate(np.array_split(random.permutation(held_out), folds)):
        rows = np.flatnonzero(np.isin(identities, members))
        table = np.array(list(itertools.combinations(rows, 2)))
        same = identities[table[:, 0]] == identities[table[:, 1]]
        impostors = np.sort(random.choice(np.flatnonzero(~same), same.sum(), replace=False))
        chosen = np.concatenate([np.flatnonzero(same), impostors])
        tables.append(pd.DataFrame({"a": table[chosen, 0], "b": table[chosen, 1], "same": same[chosen], "fold": fold}))
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize("seed", range(4))
def test_pairs_by_arithmetic_are_those_of_a_list_of_all(seed):
    random = np.random.default_rng(seed)
    identities = random.permutation(np.repeat([f"p{number}" for number in range(30)], random.integers(1, 9, 30)))
    held_out = pairs.hold_out(identities, 24, seed)
    table = pairs.held_out_pairs(coded(identities), held_out, 3, seed)
    pd.testing.assert_frame_equal(table, old_held_out_pairs(identities, held_out, 3, seed))


@pytest.mark.parametrize("sizes", [[1, 1], [3], [2, 1, 4], [1, 7, 1, 2]])
def test_every_pair_has_its_number(sizes):
    codes = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    possible, every = pairs.PossiblePairs(codes), list(itertools.combinations(range(len(codes)), 2))
    genuine = [list(pair) for pair in every if codes[pair[0]] == codes[pair[1]]]
    impostor = [list(pair) for pair in every if codes[pair[0]] != codes[pair[1]]]
    assert possible.genuine_pairs().T.tolist() == genuine
    assert possible.impostor_pairs(np.arange(possible.impostor)).T.tolist() == impostor


def test_memory_is_that_of_the_pairs_and_a_few_bytes_per_face():
    """A fold of 6,000 faces has 18 million possible pairs; names are not repeated for each face."""
    codes = np.repeat(np.arange(40_000, dtype=np.int32), 10)
    names = np.array([f"{'a long name ' * 8}{number}" for number in range(40_000)], object)
    identities = pairs.IdentityColumn(codes, names)
    held_out = [*names[:600]]
    tracemalloc.start()
    table = pairs.held_out_pairs(identities, held_out, 1, 0)
    training = pairs.training_set(identities, np.ones(len(codes), bool), set(held_out), 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(table), len(training)) == (2 * 600 * 45, 394_000)
    assert peak < 60 * len(codes)


def test_held_out_identities_depend_only_on_the_seed():
    held_out = pairs.hold_out(IDENTITIES, 6, seed=1)
    assert len(set(held_out)) == 6
    assert held_out == pairs.hold_out(IDENTITIES, 6, seed=1)
    assert held_out != pairs.hold_out(IDENTITIES, 6, seed=2)


def test_every_genuine_pair_and_as_many_impostors_in_disjoint_folds():
    held_out = pairs.hold_out(IDENTITIES, 6, seed=1)
    table = pairs.held_out_pairs(coded(IDENTITIES), held_out, folds=2, seed=1)
    expected = {
        (a, b)
        for a, b in itertools.combinations(range(len(IDENTITIES)), 2)
        if IDENTITIES[a] == IDENTITIES[b] and IDENTITIES[a] in held_out
    }
    genuine = table[table.same]
    assert set(zip(genuine.a, genuine.b)) == expected
    assert len(genuine) == len(expected)
    identities_of_fold = {}
    for fold, group in table.groupby("fold"):
        assert group.same.sum() == (~group.same).sum()
        identities_of_fold[fold] = set(IDENTITIES[group[["a", "b"]].to_numpy().ravel()])
    assert not identities_of_fold[0] & identities_of_fold[1]
    impostors = table[~table.same]
    assert (IDENTITIES[impostors.a] != IDENTITIES[impostors.b]).all()
    assert not impostors.duplicated(["a", "b"]).any()


@pytest.mark.parametrize(
    ("identities", "folds", "message"), [(12, 2, "held_out.identities is 12"), (4, 3, "need at least 6")]
)
def test_too_few_identities_are_rejected(identities, folds, message):
    with pytest.raises(ValueError, match=message):
        pairs.held_out_pairs(coded(IDENTITIES), pairs.hold_out(IDENTITIES, identities, 0), folds, 0)


def test_range_of_held_out_identities_is_one_that_works():
    eight = np.repeat([f"p{number}" for number in range(8)], 3)
    with pytest.raises(ValueError, match=r"in 1 round, 4 … 6 can be held out"):
        pairs.hold_out(eight, 8, seed=0)
    for number in (4, 6):
        held_out = pairs.hold_out(eight, number, seed=0)
        assert len(pairs.held_out_pairs(coded(eight), held_out, folds=2, seed=0))
        assert len(pairs.training_set(coded(eight), np.ones(24, bool), set(held_out), 1))
    with pytest.raises(ValueError, match=r"in 3 rounds, none can be held out"):
        pairs.hold_out(eight, 4, seed=0, turn=pairs.Round(0, 3))


def test_identities_with_one_image_form_no_fold():
    with pytest.raises(ValueError, match=r"fold 0 .* has one image of each identity"):
        pairs.held_out_pairs(coded(np.array(["a", "b", "c", "d"])), ["a", "b", "c", "d"], folds=2, seed=0)


def test_training_set_excludes_test_identities():
    usable = np.ones(len(IDENTITIES), bool)
    usable[3] = False
    table = pairs.training_set(coded(IDENTITIES), usable, {"p1", "p2"}, minimum_images=1)
    assert set(IDENTITIES[table.row]) == {f"p{number}" for number in range(12)} - {"p1", "p2"}
    assert 3 not in set(table.row)
    assert sorted(table.label.unique()) == list(range(10))
    assert table.groupby("label").row.apply(lambda rows: len(set(IDENTITIES[rows]))).eq(1).all()


def test_identities_with_too_few_faces_are_excluded():
    usable = np.ones(len(IDENTITIES), bool)
    usable[:3] = False
    table = pairs.training_set(coded(IDENTITIES), usable, set(), minimum_images=4)
    assert "p0" not in set(IDENTITIES[table.row])


def test_too_few_training_identities_are_rejected():
    with pytest.raises(ValueError, match="1 identities remain"):
        pairs.training_set(coded(IDENTITIES), np.ones(len(IDENTITIES), bool), {f"p{number}" for number in range(11)}, 1)


def test_rounds_hold_out_everybody_once():
    rounds = [pairs.hold_out(IDENTITIES, 4, seed=1, turn=pairs.Round(index, 3)) for index in range(3)]
    assert sorted(name for names in rounds for name in names) == sorted(set(IDENTITIES))
    assert pairs.hold_out(IDENTITIES, 4, seed=1, turn=pairs.Round(0, 1)) == pairs.hold_out(IDENTITIES, 4, seed=1)
    with pytest.raises(ValueError, match="in 3 rounds, 4 … 4 can be held out"):
        pairs.hold_out(IDENTITIES, 5, seed=1, turn=pairs.Round(0, 3))


def test_rounds_divide_the_folds_of_a_published_protocol():
    folds = list(range(1, 11))
    assert [pairs.folds_of_round(folds, pairs.Round(index, 5)) for index in range(5)] == [
        [1, 2], [3, 4], [5, 6], [7, 8], [9, 10],
    ]  # fmt: skip
    assert pairs.folds_of_round([9, 10], pairs.Round()) == [9, 10]
    with pytest.raises(ValueError, match="6 rounds need at least 12 folds, but there are 10"):
        pairs.folds_of_round(folds, pairs.Round(0, 6))


def test_people_are_known_from_labels():
    table = pd.DataFrame({"a": [0, 2, 5], "b": [1, 4, 0], "same": [True, False, False]})
    people = pairs.identify(table, np.array([7, 7, 8, 8, 9, 8]), [bytes([row]) for row in (0, 1, 2, 4, 5)])
    a, b = people.identity_a, people.identity_b
    assert a[0] == b[0] == b[2]
    assert a[1] == a[2] != b[1]
    assert len(set(a) | set(b)) == 3


def test_people_of_a_pack_without_names_are_joined_by_genuine_pairs_and_equal_images():
    """Rows 0–1 and 2–3 are genuine pairs; row 4 is the same image as row 1; rows 2 and 5 differ."""
    table = pd.DataFrame({"a": [0, 2, 4], "b": [1, 3, 5], "same": [True, True, False]})
    people = pairs.identify(table, np.arange(6), [b"0", b"same", b"2", b"3", b"same", b"5"])
    assert people.identity_a[0] == people.identity_b[0] == people.identity_a[2]
    assert people.identity_a[1] == people.identity_b[1]
    assert len(np.unique(people)) == 3
