"""From photographs to aligned faces: detect, map five landmarks onto ArcFace's template, warp."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from triplet_distillation import registry
from triplet_distillation.faces import store
from triplet_distillation.faces.acquire import open_source
from triplet_distillation.faces.detectors import Detection
from triplet_distillation.faces.photographs import read_photograph
from triplet_distillation.faces.sources import AlignedFace, Photograph
from triplet_distillation.files import read_json, read_table, write_table
from triplet_distillation.logs import progress, summary

SIZE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Left eye, right eye, nose, left and right mouth corner in a 112×112 face (ArcFace), [5, 2] (x, y)."""


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Least-squares similarity transform (rotation, scale, shift) from ``points`` onto ``targets``.

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


def warp(photograph: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face at ``landmarks`` ([5, 2]) as RGB uint8 [112, 112, 3]; black where the photograph ends."""
    return cv2.warpAffine(photograph, similarity(landmarks, TEMPLATE), (SIZE, SIZE), flags=cv2.INTER_LINEAR)


def central_crop(photograph: np.ndarray) -> np.ndarray:
    """The largest central square, as 112×112: what stands in where no face was found."""
    height, width = photograph.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = photograph[top : top + side, left : left + side]
    return cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def choose(detections: list[Detection], height: int, width: int) -> Detection:
    """The face that is large and central: area minus 2 × squared distance of its centre from the image's."""

    def rank(detection: Detection) -> float:
        x1, y1, x2, y2 = detection.box
        distance = ((x1 + x2 - width) / 2) ** 2 + ((y1 + y2 - height) / 2) ** 2
        return (x2 - x1) * (y2 - y1) - 2 * distance

    return max(detections, key=rank)


class Aligned(NamedTuple):
    face: np.ndarray
    landmarks: np.ndarray
    score: float
    flag: int


def align(photograph: np.ndarray, detections: list[Detection]) -> Aligned:
    """One aligned face of an RGB photograph [H, W, 3], with its landmarks ([10]), score and flag."""
    if not detections:
        return Aligned(central_crop(photograph), np.full(10, np.nan, np.float32), float("nan"), store.NO_FACE)
    chosen = choose(detections, *photograph.shape[:2])
    flag = store.ONE_FACE if len(detections) == 1 else store.SEVERAL_FACES
    return Aligned(warp(photograph, chosen.landmarks), chosen.landmarks.astype(np.float32).ravel(), chosen.score, flag)


def build_store(
    photographs: list[Photograph],
    labels: dict[str, int],
    root: str | Path,
    settings: dict,
    origin: dict,
    output: str | Path,
) -> pd.DataFrame:
    """Align photographs and write the face store ``output``, which may be a shard of a larger one.

    Args:
        photographs: in the order that the store shall have; their paths are below ``root``.
        labels: identity to its number, over all shards.
        settings: ``engine`` (a file of ``faces/detectors``), ``batch_size``, and what the engine takes.
        origin: what the store's metadata shall say of the source, with its checksum.

    Returns:
        One row a photograph for the quality table: ``path, identity, outcome, reason``, the
        outcome being one of :data:`.store.FLAGS` or ``unreadable`` (which is not stored).
    """
    settings = dict(settings)
    batch_size = settings.pop("batch_size")
    settings.pop("shards")
    detector = registry.load("faces.detectors", settings.pop("engine"))(**settings)
    outcomes = []

    def faces() -> Iterator[store.Face]:
        for photograph, aligned in aligned_photographs(photographs, Path(root), detector, batch_size, outcomes):
            yield store.Face(
                image=_png(aligned.face),
                label=labels[photograph.identity],
                identity=photograph.identity,
                source=photograph.path,
                landmarks=aligned.landmarks,
                score=aligned.score,
                flag=aligned.flag,
            )

    metadata = {**origin, "template": "ArcFace 112×112", "detector": detector.description}
    store.write(output, faces(), metadata, may_be_empty=True)
    return pd.DataFrame(outcomes, columns=["path", "identity", "outcome", "reason"])


def aligned_photographs(
    photographs: list[Photograph], root: Path, detector, batch_size: int, outcomes: list[tuple]
) -> Iterator[tuple[Photograph, Aligned]]:
    """Every photograph that can be read, aligned; what became of each is appended to ``outcomes``."""
    for start in progress(range(0, len(photographs), batch_size), "align", "batch"):
        readable = []
        for photograph in photographs[start : start + batch_size]:
            try:
                readable.append((photograph, read_photograph(root / photograph.path)))
            except (ValueError, OSError) as error:
                outcomes.append((*photograph, "unreadable", str(error)))
        detections = detector.detect([pixels for _, pixels in readable])
        for (photograph, pixels), found in zip(readable, detections, strict=True):
            aligned = align(pixels, found)
            outcomes.append((*photograph, store.FLAGS[aligned.flag], ""))
            yield photograph, aligned


def _png(face: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(face, cv2.COLOR_RGB2BGR))[1].tobytes()


def store_as_it_is(faces: Iterable[AlignedFace], origin: dict, output: str | Path) -> pd.DataFrame:
    """Write a store of faces that the source has aligned already, byte for byte.

    Returns:
        As :func:`build_store`; a face whose bytes are no 112×112 image is ``unreadable`` and
        not stored.
    """
    labels: dict[str, int] = {}
    outcomes = []

    def rows() -> Iterator[store.Face]:
        for image, identity, name in progress(faces, "store", "face"):
            problem = _problem(image)
            outcomes.append((name, identity, "unreadable" if problem else store.FLAGS[store.ONE_FACE], problem))
            if not problem:
                label = labels.setdefault(identity, len(labels))
                unknown = np.full(10, np.nan, np.float32)
                yield store.Face(image, label, identity, name, unknown, float("nan"), store.ONE_FACE)

    store.write(output, rows(), {**origin, "template": "as the source has it", "detector": "the source's"})
    return pd.DataFrame(outcomes, columns=["path", "identity", "outcome", "reason"])


def _problem(image: bytes) -> str:
    """Why encoded bytes are no aligned face; empty where they are one."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR_RGB) if image else None
    if pixels is None:
        return "cannot be decoded"
    return "" if pixels.shape == (SIZE, SIZE, 3) else f"is {pixels.shape[1]}×{pixels.shape[0]}, not {SIZE}×{SIZE}"


def write_shard(
    photographs: str,
    manifest: str,
    origin: str,
    source: dict,
    settings: dict,
    shard: int,
    output: str,
    outcomes: str,
) -> None:
    """One shard of a data set's faces, from files to files: :func:`build_store`, or :func:`store_as_it_is`.

    Args:
        photographs: the data set's folder.
        manifest: CSV with ``path, identity``.
        origin: JSON for the store's metadata.
        source: the source's settings; faces that it has aligned are one shard, stored as they are.
        settings: of the alignment, with the number of ``shards``.
        shard: which of them, from 0; a shard is a run of photographs in the manifest's order.
        output: the shard's store.
        outcomes: CSV, what became of each of its photographs.
    """
    opened = open_source(source)
    if opened.aligned:
        table = store_as_it_is(opened.faces(Path(photographs)), read_json(origin), output)
    else:
        listed = read_table(manifest).astype({"path": str, "identity": str})[["path", "identity"]]
        labels = {name: label for label, name in enumerate(listed.identity.unique())}
        part = np.array_split(np.arange(len(listed)), settings["shards"])[shard]
        named = [Photograph(*row) for row in listed.iloc[part].itertuples(index=False)]
        table = build_store(named, labels, photographs, settings, read_json(origin), output)
    write_table(outcomes, table)
    summary(f"shard {shard + 1}: {counts(table)}")


def gather_shards(shards: list[str], shard_outcomes: list[str], output: str, outcomes: str) -> None:
    """Join the shards of a data set into its face store, and their outcomes into one table."""
    store.gather(shards, output)
    table = pd.concat([read_table(path) for path in shard_outcomes], ignore_index=True)
    write_table(outcomes, table)
    summary(counts(table))


def counts(table: pd.DataFrame) -> str:
    """How many photographs there are, and what became of them, in a line."""
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in table.outcome.value_counts().items())
    return f"{len(table)} photographs: {numbers}"
