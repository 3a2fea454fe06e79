"""Verification of templates, which are sets of faces of one person, as in IJB-B and IJB-C.

The steps are those of InsightFace's evaluation (recognition/arcface_torch/eval/eval_ijbc.py): weigh the faces,
aggregate them into one embedding per template, and compare the templates of each pair.
"""

import numpy as np
from scipy.sparse import csr_array

from triplet_distillation.evaluation.fusion import fuse, normalize


def weigh_faces(
    embeddings: np.ndarray, flip: str, detector_scores: np.ndarray | None = None, unit_faces: bool = False
) -> np.ndarray:
    """One embedding per face, whose length is its weight in its template.

    A network's embedding tends to be longer for a clear face, and a detector is more certain of
    one, so that clear faces count more.

    Args:
        embeddings: [N, 2, D] of image and flipped image, as the network returns them: not normalized.
        flip: one of :data:`.fusion.FLIP_FUSION`.
        detector_scores: [N], by which the embeddings are multiplied; None for no such weights.
        unit_faces: L2-normalize the embedding of image and flipped image together, before the detector's score.

    Returns:
        [N, 2·D] (``concatenate``) or [N, D], of the type of ``embeddings``.

    Raises:
        ValueError: ``flip`` is not one of :data:`.fusion.FLIP_FUSION`.
    """
    faces = fuse(embeddings, flip)
    if unit_faces:
        faces = normalize(faces)
    if detector_scores is not None:
        faces = faces * detector_scores[:, None].astype(faces.dtype)
    return faces


def aggregate(faces: np.ndarray, templates: np.ndarray, media: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One embedding per template: the mean over the faces of one medium, summed over the template's media.

    A medium is an image or a video, so that a video with many frames counts as much as one image.

    Args:
        faces: [N, D] from :func:`weigh_faces`.
        templates: [N] int, each face's template.
        media: [N] int, each face's medium; faces of different templates may have the same.

    Returns:
        The templates' numbers, [T] in ascending order, and their L2-normalized embeddings, [T, D] float32. The
        embedding of a template whose faces add up to zero is zero.
    """
    numbers, template_rows = np.unique(templates, return_inverse=True)
    media_numbers, media_rows = np.unique(media, return_inverse=True)
    _, groups, sizes = np.unique(
        template_rows * len(media_numbers) + media_rows, return_inverse=True, return_counts=True
    )
    # the sum of means is a weighted sum over all faces, which the sparse product computes without a copy of them
    weights = (1 / sizes[groups]).astype(faces.dtype)
    places = (template_rows, np.arange(len(faces)))
    sums = csr_array((weights, places), shape=(len(numbers), len(faces))) @ faces
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return numbers, (sums / np.where(lengths > 0, lengths, 1)).astype(np.float32)
