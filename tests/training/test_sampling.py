"""Batches are pure functions of (seed, step) and have the documented composition."""

from dataclasses import replace

import numpy as np
import pytest

from triplet_distillation.settings import AugmentationSettings, SamplingSettings
from triplet_distillation.training import sampling

LABELS = np.repeat(np.arange(8), [9, 6, 6, 5, 4, 2, 1, 1])[np.random.default_rng(0).permutation(34)]


def uniform_sampler(seed=0):
    return sampling.create_sampler(SamplingSettings("uniform", batch_size=10), LABELS, seed)


def pk_sampler(seed=0, **changes):
    settings = {"kind": "pk", "p": 3, "k": 4, "minimum_images": 2, "extra_negatives": 2} | changes
    return sampling.create_sampler(SamplingSettings(**settings), LABELS, seed)


@pytest.mark.parametrize("make_sampler", [uniform_sampler, pk_sampler])
def test_batch_depends_only_on_seed_and_step(make_sampler):
    first, second = make_sampler(), make_sampler()
    expected = [first.batch(step) for step in range(20)]
    for step in (17, 3, 3, 19, 0):
        assert np.array_equal(second.batch(step), expected[step])
    assert any(not np.array_equal(make_sampler(seed=1).batch(step), expected[step]) for step in range(3))


def test_uniform_epoch_has_every_image_once():
    sampler = uniform_sampler()
    seen = np.concatenate([sampler.batch(step) for step in range(17)])
    for epoch in range(5):
        assert sorted(seen[epoch * 34 : (epoch + 1) * 34]) == list(range(34))
    assert not np.array_equal(seen[:34], seen[34:68])


def test_pk_batch_has_p_identities_with_k_images_and_extra_negatives():
    sampler = pk_sampler()
    for step in range(50):
        batch = LABELS[sampler.batch(step)]
        groups = batch[:12].reshape(3, 4)
        assert (groups == groups[:, :1]).all()
        chosen = set(groups[:, 0])
        assert len(chosen) == 3
        assert not chosen & {6, 7}
        assert len(set(batch[12:])) == 2
        assert not chosen & set(batch[12:])


def test_images_repeat_only_if_an_identity_has_too_few():
    sampler = pk_sampler(extra_negatives=0)
    for step in range(50):
        for group in sampler.batch(step).reshape(3, 4):
            enough = (LABELS[group[0]] == LABELS).sum() >= 4
            assert not enough or len(set(group)) == 4


def test_every_eligible_identity_is_drawn():
    sampler = pk_sampler(extra_negatives=0)
    assert {label for step in range(60) for label in LABELS[sampler.batch(step)]} == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("changes", "message"), [({"p": 7}, "only 6 of 8"), ({"extra_negatives": 6}, "there are only 5")]
)
def test_requesting_too_many_identities_is_rejected(changes, message):
    with pytest.raises(ValueError, match=message):
        pk_sampler(**changes)


def test_augmentation_depends_only_on_seed_and_step():
    settings = AugmentationSettings(flip=True, shift=3, contrast=0.2, brightness=10)
    first, second = (sampling.draw_augmentation(settings, 400, 5, 7) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second))
    assert 0.4 < first.flipped.mean() < 0.6
    assert np.abs(first.shift).max() == 3
    assert 0.8 <= first.contrast.min() < 0.85
    assert not sampling.draw_augmentation(replace(settings, flip=False), 400, 5, 7).flipped.any()


def test_augmentations_are_drawn_independently():
    """Enabling one augmentation does not change which images are flipped."""
    plain = AugmentationSettings(flip=True, shift=0, contrast=0, brightness=0)
    a = sampling.draw_augmentation(plain, 50, 0, 3)
    b = sampling.draw_augmentation(replace(plain, contrast=0.5), 50, 0, 3)
    assert np.array_equal(a.flipped, b.flipped)
