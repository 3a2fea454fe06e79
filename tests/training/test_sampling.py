"""Batches are pure functions of (seed, step), and what they promise holds."""

from dataclasses import replace

import numpy as np
import pytest

from triplet_distillation.settings import AugmentationSettings, SamplingSettings
from triplet_distillation.training import sampling

LABELS = np.repeat(np.arange(8), [9, 6, 6, 5, 4, 2, 1, 1])[np.random.default_rng(0).permutation(34)]


def uniform(seed=0):
    return sampling.create_sampler(SamplingSettings("uniform", batch_size=10), LABELS, seed)


def identities(seed=0, **changes):
    settings = {"kind": "pk", "p": 3, "k": 4, "minimum_images": 2, "extra_negatives": 2} | changes
    return sampling.create_sampler(SamplingSettings(**settings), LABELS, seed)


@pytest.mark.parametrize("make", [uniform, identities])
def test_a_step_is_the_same_whenever_and_by_whomever_it_is_asked_for(make):
    one, other = make(), make()
    in_order = [one.batch(step) for step in range(20)]
    for step in (17, 3, 3, 19, 0):
        assert np.array_equal(other.batch(step), in_order[step])
    assert any(not np.array_equal(make(seed=1).batch(step), in_order[step]) for step in range(3))


def test_an_epoch_of_uniform_batches_has_every_image_once():
    sampler = uniform()
    seen = np.concatenate([sampler.batch(step) for step in range(17)])
    for epoch in range(5):
        assert sorted(seen[epoch * 34 : (epoch + 1) * 34]) == list(range(34))
    assert not np.array_equal(seen[:34], seen[34:68])


def test_identities_by_images_and_singles():
    sampler = identities()
    for step in range(50):
        batch = LABELS[sampler.batch(step)]
        groups = batch[:12].reshape(3, 4)
        assert (groups == groups[:, :1]).all()
        chosen = set(groups[:, 0])
        assert len(chosen) == 3
        assert not chosen & {6, 7}
        assert len(set(batch[12:])) == 2
        assert not chosen & set(batch[12:])


def test_images_repeat_only_where_an_identity_has_too_few():
    sampler = identities(extra_negatives=0)
    for step in range(50):
        for group in sampler.batch(step).reshape(3, 4):
            enough = (LABELS[group[0]] == LABELS).sum() >= 4
            assert not enough or len(set(group)) == 4


def test_every_eligible_identity_is_drawn():
    sampler = identities(extra_negatives=0)
    assert {label for step in range(60) for label in LABELS[sampler.batch(step)]} == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("changes", "message"), [({"p": 7}, "only 6 of 8"), ({"extra_negatives": 6}, "there are only 5")]
)
def test_asking_for_more_than_there_is(changes, message):
    with pytest.raises(ValueError, match=message):
        identities(**changes)


def test_augmentation_is_a_function_of_seed_and_step():
    settings = AugmentationSettings(flip=True, shift=3, contrast=0.2, brightness=10)
    one, again = (sampling.draw_augmentation(settings, 400, 5, 7) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again))
    assert 0.4 < one.flipped.mean() < 0.6
    assert np.abs(one.shift).max() == 3
    assert 0.8 <= one.contrast.min() < 0.85
    assert not sampling.draw_augmentation(replace(settings, flip=False), 400, 5, 7).flipped.any()


def test_one_choice_does_not_shift_another():
    """Turning one augmentation on does not change which images are flipped."""
    plain = AugmentationSettings(flip=True, shift=0, contrast=0, brightness=0)
    a = sampling.draw_augmentation(plain, 50, 0, 3)
    b = sampling.draw_augmentation(replace(plain, contrast=0.5), 50, 0, 3)
    assert np.array_equal(a.flipped, b.flipped)
