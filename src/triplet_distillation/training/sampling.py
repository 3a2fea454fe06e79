"""Which images make up the batch of step t, and how each is augmented: pure functions of (seed, t).

There is no state from step to step. A checkpoint only needs t, any number of processes
or loader workers sees the same global batches, and a single step can be examined alone.
"""

from typing import NamedTuple, Protocol

import numpy as np

from triplet_distillation.settings import AugmentationSettings, SamplingSettings

STREAMS = {"order": 0, "identities": 1, "augmentation": 2, "calibration": 3, "loss": 4, "dropout": 5}
"""Separate random streams of one seed, so that the draws of one do not shift those of another."""


def generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """A generator that depends only on the seed, the name of the stream and the counters (step, epoch)."""
    return np.random.default_rng([seed, STREAMS[stream], *counters])


class Sampler(Protocol):
    """Positions in the training set for every step, as a pure function of the step."""

    def batch(self, step: int) -> np.ndarray:
        """Positions [B] int64 for ``step`` (from 0)."""
        ...


class UniformSampler:
    """Batches from a new random order of all images in every epoch; a batch may span two epochs.

    Args:
        size: number of images.
        batch_size: images per step.
        seed: of the run.
    """

    def __init__(self, size: int, *, batch_size: int, seed: int):
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def batch(self, step: int) -> np.ndarray:
        """Positions [batch_size] int64 in the training set for ``step`` (from 0)."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, within = np.divmod(places, self.size)
        return np.concatenate([self._epoch_order(epoch)[within[epochs == epoch]] for epoch in np.unique(epochs)])

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:  # only a cache of the last order, which follows from (seed, epoch)
            self._order = generator(self.seed, "order", int(epoch)).permutation(self.size)
            self._epoch = epoch
        return self._order


class PKSampler:
    """P identities with K images each, then single images of further identities as extra negatives.

    Identities with fewer than K images are sampled with replacement (K = 18 in the paper).

    Args:
        labels: of every image of the training set, [N].
        p: identities per batch.
        k: images per identity.
        minimum_images: identities with fewer images are never among the P.
        extra_negatives: further identities per batch, with one image each.
        seed: of the run.

    Raises:
        ValueError: fewer than P identities have enough images.
    """

    def __init__(
        self, labels: np.ndarray, *, p: int, k: int, minimum_images: int = 2, extra_negatives: int = 0, seed: int
    ):
        self.p, self.k, self.extra_negatives, self.seed = p, k, extra_negatives, seed
        self._order = np.argsort(labels, kind="stable")
        _, self._first, self._count = np.unique(labels[self._order], return_index=True, return_counts=True)
        self.eligible = np.flatnonzero(self._count >= minimum_images)
        if len(self.eligible) < p:
            raise ValueError(
                f"sampling.p asks for {p} identities per batch, but only {len(self.eligible)} of "
                f"{len(self._count)} have at least {minimum_images} images: lower p or minimum_images"
            )
        if extra_negatives > len(self._count) - p:
            raise ValueError(
                f"sampling.extra_negatives asks for {extra_negatives} further identities per batch, but there are only "
                f"{len(self._count) - p}: lower extra_negatives"
            )

    def batch(self, step: int) -> np.ndarray:
        """Positions [P·K + extra_negatives] int64 in the training set for ``step``, grouped by identity."""
        random = generator(self.seed, "identities", step)
        chosen = random.choice(self.eligible, self.p, replace=False)
        positions = [self._draw_images(label, self.k, random) for label in chosen]
        if self.extra_negatives:
            # Drawing P more than needed leaves enough that are not among the P, without listing all identities.
            drawn = random.choice(len(self._count), self.p + self.extra_negatives, replace=False)
            others = drawn[~np.isin(drawn, chosen)][: self.extra_negatives]
            positions += [self._draw_images(label, 1, random) for label in others]
        return np.concatenate(positions)

    def _draw_images(self, label: int, count: int, random: np.random.Generator) -> np.ndarray:
        available = self._count[label]
        within = random.choice(available, count, replace=bool(available < count))
        return self._order[self._first[label] + within]


def create_sampler(settings: SamplingSettings, labels: np.ndarray, seed: int) -> Sampler:
    """The sampler that ``settings`` describe, for a training set with ``labels`` [N]."""
    if settings.kind == "uniform":
        return UniformSampler(len(labels), batch_size=settings.batch_size, seed=seed)
    return PKSampler(
        labels,
        p=settings.p,
        k=settings.k,
        minimum_images=settings.minimum_images,
        extra_negatives=settings.extra_negatives,
        seed=seed,
    )


class Augmentation(NamedTuple):
    """Changes to the B images of a batch: ``flipped`` [B] bool, ``shift`` [B, 2] pixels (x, y), ``contrast`` [B]
    factor around mid-gray, ``brightness`` [B] in gray levels of 255."""

    flipped: np.ndarray
    shift: np.ndarray
    contrast: np.ndarray
    brightness: np.ndarray


def draw_augmentation(settings: AugmentationSettings, size: int, seed: int, step: int) -> Augmentation:
    """Draw the changes to the ``size`` images of ``step``; ``flip`` flips each with probability ½."""
    random = generator(seed, "augmentation", step)
    flipped = random.random(size) < 0.5
    shift = random.integers(-settings.shift, settings.shift + 1, (size, 2))
    contrast = 1 + settings.contrast * random.uniform(-1, 1, size)
    brightness = settings.brightness * random.uniform(-1, 1, size)
    return Augmentation(flipped & settings.flip, shift, contrast, brightness)
