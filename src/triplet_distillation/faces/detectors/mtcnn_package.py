"""MTCNN (Zhang et al. 2016) as the package ``mtcnn`` runs it, in TensorFlow."""

import importlib.metadata
import os

import numpy as np

from triplet_distillation.faces.detectors import Detection


class Detector:
    """The package's detector with its published thresholds; takes no settings."""

    description = f"mtcnn {importlib.metadata.version('mtcnn')} (TensorFlow)"

    def __init__(self):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from mtcnn import MTCNN  # takes seconds: only when a detector is made

        self._detector = MTCNN()

    def detect(self, photographs: list[np.ndarray]) -> list[list[Detection]]:
        """Faces of each RGB uint8 photograph [H, W, 3].

        Photographs of one shape go through together: the package pads a batch to its
        largest member, and padding changes what it finds.
        """
        found: list[list[Detection]] = [[] for _ in photographs]
        by_shape: dict[tuple, list[int]] = {}
        for index, photograph in enumerate(photographs):
            by_shape.setdefault(photograph.shape, []).append(index)
        for indices in by_shape.values():
            rows = self._detector.detect_faces(
                [photographs[index] for index in indices], box_format="xyxy", output_type="numpy"
            )
            for row in np.atleast_2d(rows):
                if row.size:
                    found[indices[int(row[0])]].append(_detection(row))
        return found


def _detection(row: np.ndarray) -> Detection:
    """From the package's row: image, x1, y1, x2, y2, score, five x, five y."""
    return Detection(box=row[1:5], landmarks=row[6:16].reshape(2, 5).T, score=float(row[5]))
