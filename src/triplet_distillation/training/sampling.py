"""Which images make up step t's batch, and how each is changed: pure functions of (seed, t).

Nothing runs along from step to step. A checkpoint needs only t, any number of processes
or loader workers sees the same global batches, and one step can be looked at by itself.
"""

from typing import NamedTuple

import numpy as np

STREAMS = {"order": 0, "identities": 1, "augmentation": 2, "calibration": 3, "loss": 4, "dropout": 5}
"""Separate random streams of one seed, so that one choice's draws do not shift another's."""


def generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """A generator that depends on the seed, the stream's name and the counters (step, epoch) alone."""
    return np.random.default_rng([seed, STREAMS[stream], *counters])


class Uniform:
    """Batches from one random order of all images an epoch; a batch may span two epochs.

    Args:
        size: number of images.
        batch_size: images a step.
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
        if epoch != self._epoch:  # only a memory of the last one: the order follows from (seed, epoch)
            self._order = generator(self.seed, "order", int(epoch)).permutation(self.size)
            self._epoch = epoch
        return self._order


class Identities:
    """P×K sampling: P identities and K images of each, then single photographs as further negatives.

    Identities with fewer than K images are sampled with replacement (the paper has K = 18).

    Args:
        labels: identity of every image of the training set, [N].
        identities: P.
        images: K.
        minimum_images: identities with fewer images are never one of the P.
        singles: images of further identities, one each, added to every batch.
        seed: of the run.

    Raises:
        ValueError: fewer than P identities have enough images.
    """

    def __init__(
        self,
        labels: np.ndarray,
        *,
        identities: int,
        images: int,
        minimum_images: int = 2,
        singles: int = 0,
        seed: int,
    ):
        self.identities, self.images, self.singles, self.seed = identities, images, singles, seed
        self._order = np.argsort(labels, kind="stable")
        _, self._first, self._count = np.unique(labels[self._order], return_index=True, return_counts=True)
        self.eligible = np.flatnonzero(self._count >= minimum_images)
        if len(self.eligible) < identities:
            raise ValueError(
                f"sampling.identities asks for {identities} identities a batch, but only {len(self.eligible)} of "
                f"{len(self._count)} have at least {minimum_images} images: lower identities or minimum_images"
            )
        if singles > len(self._count) - identities:
            raise ValueError(
                f"sampling.singles asks for {singles} further identities a batch, but there are only "
                f"{len(self._count) - identities}: lower singles"
            )
        self.batch_size = identities * images + singles

    def batch(self, step: int) -> np.ndarray:
        """Positions [P·K + singles] int64 in the training set for ``step``; an identity's images adjoin."""
        random = generator(self.seed, "identities", step)
        chosen = random.choice(self.eligible, self.identities, replace=False)
        positions = [self._images_of(identity, self.images, random) for identity in chosen]
        if self.singles:
            # Enough that those which are none of the P are enough: no list of all identities is made.
            drawn = random.choice(len(self._count), self.identities + self.singles, replace=False)
            others = drawn[~np.isin(drawn, chosen)][: self.singles]
            positions += [self._images_of(identity, 1, random) for identity in others]
        return np.concatenate(positions)

    def _images_of(self, identity: int, number: int, random: np.random.Generator) -> np.ndarray:
        count = self._count[identity]
        within = random.choice(count, number, replace=bool(count < number))
        return self._order[self._first[identity] + within]


def sampler(settings: dict, labels: np.ndarray, seed: int) -> "Uniform | Identities":
    """The sampler that ``settings`` (the configuration's ``sampling``) describe: ``kind`` uniform or identities."""
    settings = dict(settings)
    if settings.pop("kind") == "uniform":
        return Uniform(len(labels), seed=seed, **settings)
    return Identities(labels, seed=seed, **settings)


class Augmentation(NamedTuple):
    """How each of a batch's B images is changed: ``mirrored`` [B] bool, ``shift`` [B, 2] pixels (x, y),
    ``contrast`` [B] factor around mid-grey, ``brightness`` [B] in grey levels of 255."""

    mirrored: np.ndarray
    shift: np.ndarray
    contrast: np.ndarray
    brightness: np.ndarray


def augmentation(settings: dict, size: int, seed: int, step: int) -> Augmentation:
    """Draw the changes of step's images; every image is mirrored with probability ½ where ``mirror`` is set.

    Args:
        settings: ``mirror`` (bool), ``shift`` (largest, pixels), ``contrast`` (largest
            relative change), ``brightness`` (largest change, grey levels).
    """
    random = generator(seed, "augmentation", step)
    mirrored = random.random(size) < 0.5
    shift = random.integers(-settings["shift"], settings["shift"] + 1, (size, 2))
    contrast = 1 + settings["contrast"] * random.uniform(-1, 1, size)
    brightness = settings["brightness"] * random.uniform(-1, 1, size)
    return Augmentation(mirrored & settings["mirror"], shift, contrast, brightness)
