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
        try:
            from mtcnn import MTCNN  # takes seconds: only when a detector is made
        except ImportError as error:
            raise ImportError(
                f"alignment.engine mtcnn_package needs TensorFlow ({error}): install the extra tensorflow, "
                "or choose the engine mtcnn, which gives the same answers"
            ) from error

        self._detector = MTCNN()

    def detect(self, photographs: list[np.ndarray]) -> list[list[Detection]]:
        """Faces of each RGB uint8 photograph [H, W, 3].

        One photograph at a time: in the package's batch call, what is found in one
        depends on the others (it sorts boxes of all images together, and equal scores
        then fall in another order).
        """
        return [self._detect_one(photograph) for photograph in photographs]

    def _detect_one(self, photograph: np.ndarray) -> list[Detection]:
        rows = self._detector.detect_faces(photograph, box_format="xyxy", output_type="numpy")
        return [_detection(row) for row in np.atleast_2d(rows) if row.size]


def _detection(row: np.ndarray) -> Detection:
    """From the package's row: image, x1, y1, x2, y2, score, five x, five y."""
    return Detection(box=row[1:5], landmarks=row[6:16].reshape(2, 5).T, score=float(row[5]))
