"""MTCNN (Zhang et al. 2016) as the package ``mtcnn`` runs it, in TensorFlow."""

import importlib.metadata
import os

import numpy as np

from triplet_distillation.faces.detectors import Detection, Detector


class MTCNNPackageDetector(Detector):
    """The package's detector with its published thresholds; it has no settings."""

    description = f"mtcnn {importlib.metadata.version('mtcnn')} (TensorFlow)"

    def __init__(self):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            from mtcnn import MTCNN  # takes seconds, so only when a detector is created
        except ImportError as error:
            raise ImportError(
                f"the detector mtcnn_package needs TensorFlow ({error}): install the extra tensorflow, "
                "or choose the detector mtcnn, which gives the same results"
            ) from error

        self._detector = MTCNN()

    def detect(self, images: list[np.ndarray]) -> list[list[Detection]]:
        """The faces in each RGB uint8 image [H, W, 3].

        Images are processed one at a time: in the package's batch call, the result for one
        depends on the others (it sorts the boxes of all images together, which changes
        the order of equal scores).
        """
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: np.ndarray) -> list[Detection]:
        rows = self._detector.detect_faces(image, box_format="xyxy", output_type="numpy")
        return [_detection(row) for row in np.atleast_2d(rows) if row.size]


def _detection(row: np.ndarray) -> Detection:
    """From a row of the package's output: image, x1, y1, x2, y2, score, five x, five y."""
    return Detection(box=row[1:5], landmarks=row[6:16].reshape(2, 5).T, score=float(row[5]))
