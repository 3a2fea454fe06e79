"""From images to aligned faces: detect, map five landmarks onto ArcFace's template, warp."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from triplet_distillation import registry
from triplet_distillation.faces import store
from triplet_distillation.faces.acquire import open_source
from triplet_distillation.faces.detectors import Detection, Detector
from triplet_distillation.faces.images import read_image
from triplet_distillation.faces.sources import EncodedFace, SourceImage
from triplet_distillation.files import read_json
from triplet_distillation.logs import progress, summary
from triplet_distillation.provenance import library_versions
from triplet_distillation.tabular import read_table, write_table

SIZE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Left eye, right eye, nose, left and right mouth corner in a 112×112 face (ArcFace), [5, 2] (x, y)."""
OUTCOME_COLUMNS = ["path", "identity", "outcome", "reason"]
SHOWN = 5
"""Number of reasons that an error lists."""


def similarity_transform(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Least-squares similarity transform (rotation, scale, translation) from ``points`` onto ``targets``.

    Args:
        points, targets: [n, 2] (x, y), n ≥ 2.

    Returns:
        [2, 3] matrix M with ``targets ≈ points @ M[:, :2].T + M[:, 2]``.

    A similarity in the plane is z ↦ a·z + b over the complex numbers, for which least
    squares has a closed form.
    """
    z, w = points @ (1, 1j), targets @ (1, 1j)
    z_mean, w_mean = z.mean(), w.mean()
    a = np.vdot(z - z_mean, w - w_mean) / np.vdot(z - z_mean, z - z_mean)
    b = w_mean - a * z_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def warp(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face at ``landmarks`` ([5, 2]) as RGB uint8 [112, 112, 3]; black beyond the edge of the image."""
    warped = cv2.warpAffine(image, similarity_transform(landmarks, TEMPLATE), (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(warped)


def central_crop(image: np.ndarray) -> np.ndarray:
    """The largest central square, resized to 112×112: the substitute if no face is found."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA))


def choose(detections: list[Detection], height: int, width: int) -> Detection:
    """The largest, most central face: the maximum of area − 2 × squared distance of its center from the image's."""

    def rank(detection: Detection) -> float:
        x1, y1, x2, y2 = detection.box
        distance = ((x1 + x2 - width) / 2) ** 2 + ((y1 + y2 - height) / 2) ** 2
        return (x2 - x1) * (y2 - y1) - 2 * distance

    return max(detections, key=rank)


class AlignmentResult(NamedTuple):
    """``pixels`` of the aligned face, RGB uint8 [112, 112, 3]; ``landmarks`` [10]; the detector's ``score``;
    ``detection_status``, a key of :data:`.store.DETECTION_STATUS`."""

    pixels: np.ndarray
    landmarks: np.ndarray
    score: float
    detection_status: int


def align_face(image: np.ndarray, detections: list[Detection]) -> AlignmentResult:
    """The aligned face of an RGB image [H, W, 3]."""
    if not detections:
        return AlignmentResult(central_crop(image), np.full(10, np.nan, np.float32), float("nan"), store.NO_FACE)
    chosen = choose(detections, *image.shape[:2])
    status = store.ONE_FACE if len(detections) == 1 else store.SEVERAL_FACES
    landmarks = chosen.landmarks.astype(np.float32).ravel()
    return AlignmentResult(warp(image, chosen.landmarks), landmarks, chosen.score, status)


def build_store(
    images: list[SourceImage],
    labels: dict[str, int],
    root: str | Path,
    settings: dict[str, Any],
    origin: dict,
    output: str | Path,
) -> pd.DataFrame:
    """Align images and write the face store ``output``, which may be a shard of a larger one.

    Args:
        images: in the order of the store; their paths are relative to ``root``.
        labels: identity to its label, over all shards.
        settings: ``detector`` (a file of ``faces/detectors``), its own settings, and ``batch_size``; images that come
            with detections need no detector.
        origin: the source's description for the store's metadata, with its checksum.

    Returns:
        One row per image for the quality table: ``path, identity, outcome, reason``; the
        outcome is a value of :data:`.store.DETECTION_STATUS` or ``unreadable`` (not stored).
    """
    settings = dict(settings)
    batch_size = settings.pop("batch_size")
    settings.pop("shards")
    detected = any(image.detection for image in images)
    detector = None if detected else registry.load("faces.detectors", settings.pop("detector"))(**settings)
    outcomes: list[tuple[str, str, str, str]] = []

    def faces() -> Iterator[store.StoreRow]:
        for image, result in align_images(images, Path(root), detector, batch_size, outcomes):
            yield store.StoreRow(
                image=_png(result.pixels),
                label=labels[image.identity],
                identity=image.identity,
                source=image.path,
                landmarks=result.landmarks,
                score=result.score,
                detection_status=result.detection_status,
            )

    description = detector.description if detector else "landmarks published with the data set"
    metadata = {**origin, "template": "ArcFace 112×112", "detector": description, "libraries": library_versions()}
    store.write(output, faces(), metadata, may_be_empty=True)
    return pd.DataFrame(outcomes, columns=OUTCOME_COLUMNS)


def align_images(
    images: list[SourceImage], root: Path, detector: Detector | None, batch_size: int, outcomes: list[tuple]
) -> Iterator[tuple[SourceImage, AlignmentResult]]:
    """Every readable image, aligned; the outcome of each image is appended to ``outcomes``.

    Without a ``detector``, by the detections that the images come with; one that has none counts as without a face.
    """
    for start in progress(range(0, len(images), batch_size), "align", "batch"):
        readable = []
        for image in images[start : start + batch_size]:
            try:
                readable.append((image, read_image(root / image.path)))
            except (ValueError, OSError) as error:
                outcomes.append((image.path, image.identity, "unreadable", str(error)))
        if detector:
            detections = detector.detect([pixels for _, pixels in readable])
        else:
            detections = [[image.detection] if image.detection else [] for image, _ in readable]
        for (image, pixels), found in zip(readable, detections, strict=True):
            result = align_face(pixels, found)
            outcomes.append((image.path, image.identity, store.DETECTION_STATUS[result.detection_status], ""))
            yield image, result


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def copy_aligned_faces(faces: Iterable[EncodedFace], origin: dict, output: str | Path) -> pd.DataFrame:
    """Write a store of faces that the source has already aligned, byte for byte.

    Returns:
        As for :func:`build_store`; a face whose bytes are not a 112×112 image is
        ``unreadable`` and not stored.

    Raises:
        ValueError: there are no faces, or none is stored; the message says why.
    """
    labels: dict[str, int] = {}
    outcomes = []

    def rows() -> Iterator[store.StoreRow]:
        for content, identity, name in progress(faces, "store", "face"):
            problem = face_problem(content)
            status = store.DETECTION_STATUS[store.ONE_FACE]
            outcomes.append((name, identity, "unreadable" if problem else status, problem))
            if not problem:
                label = labels.setdefault(identity, len(labels))
                unknown = np.full(10, np.nan, np.float32)
                yield store.StoreRow(content, label, identity, name, unknown, float("nan"), store.ONE_FACE)
        if outcomes and not labels:
            listed = count_reasons([reason for *_, reason in outcomes])
            raise ValueError(
                f"{origin.get('origin', 'the source')}: none of its {len(outcomes)} faces can be stored: {listed}. "
                f"They must be aligned to ArcFace's template at {SIZE}×{SIZE}: export them as photographs, one folder "
                "per identity, and use source: folder, which aligns them"
            )

    metadata = {**origin, "template": "the source's own", "detector": "the source's own"}
    store.write(output, rows(), metadata | {"libraries": library_versions()})
    return pd.DataFrame(outcomes, columns=OUTCOME_COLUMNS)


def face_problem(content: bytes) -> str:
    """Why encoded bytes are not an aligned face; empty if they are one."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB) if content else None
    if pixels is None:
        return "cannot be decoded"
    return "" if pixels.shape == (SIZE, SIZE, 3) else f"is {pixels.shape[1]}×{pixels.shape[0]}, not {SIZE}×{SIZE}"


class AcquiredFiles(NamedTuple):
    """What :func:`.acquire.write_images` wrote: the folder of ``images``, ``manifest`` (CSV), ``origin`` (JSON)."""

    images: str
    manifest: str
    origin: str


def write_shard(
    acquired: AcquiredFiles, source: dict[str, Any], settings: dict[str, Any], shard: int, output: str, outcomes: str
) -> None:
    """One shard of a data set's faces, from files to files: :func:`build_store`, or :func:`copy_aligned_faces`.

    Args:
        acquired: files of the data set.
        source: the source's settings; faces that it has already aligned are one shard, stored unchanged.
        settings: of the alignment, with the number of ``shards``.
        shard: from 0; a shard is a run of images in the manifest's order.
        output: the shard's store.
        outcomes: CSV, the outcome of each image of the shard.
    """
    opened, origin = open_source(source), read_json(acquired.origin)
    if opened.aligned:
        table = copy_aligned_faces(opened.faces(Path(acquired.images)), origin, output)
    else:
        listed = read_table(acquired.manifest, text=("path", "identity"))[["path", "identity"]]
        labels = {name: label for label, name in enumerate(listed.identity.unique())}
        part = np.array_split(np.arange(len(listed)), settings["shards"])[shard]
        detections = opened.detections(Path(acquired.images))
        images = [
            SourceImage(path, identity, detections.get(path))
            for path, identity in listed.iloc[part].itertuples(index=False)
        ]
        table = build_store(images, labels, acquired.images, settings, origin, output)
    write_table(outcomes, table)
    summary(f"shard {shard + 1}: {count_outcomes(table)}")


def merge_shards(shards: list[str], shard_outcomes: list[str], output: str, outcomes: str) -> None:
    """Merge the shards of a data set into its face store, and their outcomes into one table.

    Raises:
        ValueError: no image could be read; the message says why.
    """
    table = pd.concat([read_table(path, text=tuple(OUTCOME_COLUMNS)) for path in shard_outcomes], ignore_index=True)
    if len(table) and (table.outcome == "unreadable").all():
        raise ValueError(f"none of the {len(table)} images could be read: {count_reasons(table.reason.tolist())}")
    store.merge(shards, output)
    write_table(outcomes, table)
    summary(count_outcomes(table))


def count_reasons(reasons: list[str]) -> str:
    """The most frequent reasons why images are not stored, with their numbers."""
    counts = pd.Series(reasons).value_counts()
    listed = "; ".join(f"{number} × {reason}" for reason, number in counts[:SHOWN].items())
    return f"{listed}; and {len(counts) - SHOWN} other reasons" if len(counts) > SHOWN else listed


def count_outcomes(table: pd.DataFrame) -> str:
    """One line: the number of images, and of each outcome."""
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in table.outcome.value_counts().items())
    return f"{len(table)} images: {numbers}"
