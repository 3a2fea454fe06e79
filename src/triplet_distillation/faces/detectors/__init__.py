"""Face detectors, one file each: a class ``Detector`` that maps photographs to detections."""

from typing import NamedTuple

import numpy as np


class Detection(NamedTuple):
    """One face in a photograph, all in its pixels.

    ``box``: x1, y1, x2, y2. ``landmarks``: [5, 2] (x, y) of left eye, right eye, nose,
    left and right mouth corner, left and right as the viewer sees them. ``score``: 0 … 1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float
