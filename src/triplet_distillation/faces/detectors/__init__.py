"""Face detectors, one file each: a class derived from :class:`Detector`."""

from typing import NamedTuple

import numpy as np


class Detection(NamedTuple):
    """One face in an image, in pixel coordinates.

    ``box``: x1, y1, x2, y2. ``landmarks``: [5, 2] (x, y) of left eye, right eye, nose,
    left and right mouth corner, left and right as seen by the viewer. ``score``: 0 … 1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float


class Detector:
    """Base class; settings from the configuration are keyword-only arguments of ``__init__``.

    ``description``: name and version, for the metadata of a store.
    """

    description: str

    def detect(self, images: list[np.ndarray]) -> list[list[Detection]]:
        """The faces in each RGB uint8 image [H, W, 3]."""
        raise NotImplementedError
