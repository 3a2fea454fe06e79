"""From images to aligned faces: detect, map five landmarks onto ArcFace's template, warp."""

import hashlib
import inspect
import itertools
import json
import logging
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from triplet_distillation.files import atomic_write, locked, read_json, write_json
from triplet_distillation.logs import progress, summary
from triplet_distillation.provenance import code_version, digest, library_versions
from triplet_distillation.tabular import write_table

log = logging.getLogger(__name__)

SIZE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Left eye, right eye, nose, left and right mouth corner in a 112×112 face (ArcFace), [5, 2] (x, y)."""
OUTCOME_COLUMNS = ["path", "identity", "outcome", "reason"]
SHOWN = 5
"""Number of reasons that an error lists."""
TEXT = pd.StringDtype("pyarrow")
PIXELS_TOGETHER = 16_000_000
"""Images that have more pixels together are not detected together, however large a batch may be."""
PORTION = 512
"""Number of images, rounded to whole batches, after which a killed alignment resumes."""
LINES_TOGETHER = 100_000
"""Number of lines of a table that are in memory together."""


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
    images: Collection[SourceImage],
    labels: Mapping[str, int],
    root: str | Path,
    settings: dict[str, Any],
    origin: dict,
    output: str | Path,
) -> pd.DataFrame:
    """Align images and write the face store ``output``, which may be a shard of a larger one.

    Until the store is complete, finished portions of it are in a folder beside it, from which a killed alignment
    resumes: the next one with the same images, settings and versions gives the bytes of an uninterrupted one.

    Args:
        images: in the order of the store; their paths are relative to ``root``. They are read several times.
        labels: identity to its label, over all shards.
        settings: ``detector`` (a file of ``faces/detectors``), its own settings, and ``batch_size``; images that come
            with detections need no detector.
        origin: the source's description for the store's metadata, with its checksum.

    Returns:
        One row per image for the quality table: ``path, identity, outcome, reason``; the
        outcome is a value of :data:`.store.DETECTION_STATUS` or ``unreadable`` (not stored).
    """
    settings = {key: value for key, value in settings.items() if key != "shards"}
    decided: dict[str, Any] = {"settings": dict(settings), "origin": origin, "libraries": library_versions()}
    batch_size = settings.pop("batch_size")
    detected = any(image.detection for image in images)
    detector = None if detected else registry.load("faces.detectors", settings.pop("detector"))(**settings)
    description = detector.description if detector else "landmarks published with the data set"
    metadata = {**origin, "template": "ArcFace 112×112", "detector": description, "libraries": library_versions()}
    files = [__file__, *([inspect.getfile(type(detector))] if detector else [])]
    decided |= {"images": _digest_of_images(images, labels), "code": [code_version(file) for file in files]}
    unfinished = Path(output).with_name(f".{Path(output).name}.unfinished")
    with locked(unfinished.with_suffix(".lock"), remove=True):
        _start_or_resume(unfinished, digest(decided))
        batches = progress(_batches(images, batch_size), "align", "batch", -(-len(images) // batch_size))
        aligner = Aligner(Path(root), detector, labels)
        portions = aligner.write_portions(batches, max(1, PORTION // batch_size), unfinished)
        outcomes = pd.concat([_as_text([]), *(_as_text(_read_outcomes(each)) for each in portions)], ignore_index=True)
        store.join(portions, unfinished / "all.arrow", metadata, may_be_empty=True)
        (unfinished / "all.arrow").replace(output)
        shutil.rmtree(unfinished)
    return outcomes


def _digest_of_images(images: Iterable[SourceImage], labels: Mapping[str, int]) -> str:
    """Digest of which images are aligned; the origin's checksum says what is in them."""
    found = hashlib.sha256()
    for path, identity, detection in images:
        landmarks = detection.landmarks.tolist() if detection else None
        found.update(json.dumps([path, identity, labels[identity], landmarks]).encode())
    return found.hexdigest()


def _start_or_resume(folder: Path, decided_by: str) -> None:
    """Empty a folder of portions that was made in another way."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "decided_by.json"
    if record.is_file() and read_json(record) == decided_by:
        log.info("resumes from %s", folder)
        return
    for path in folder.iterdir():
        log.warning("%s belongs to other images, settings or versions: it is removed", path)
        path.unlink()
    write_json(record, decided_by)


def _batches(images: Iterable[SourceImage], size: int) -> Iterator[list[SourceImage]]:
    remaining = iter(images)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


class Aligner(NamedTuple):
    """``root``: of the images' paths; ``detector``: None if the images come with detections; ``labels``: identity to
    its label."""

    root: Path
    detector: Detector | None
    labels: Mapping[str, int]

    def write_portions(self, batches: Iterable[list[SourceImage]], size: int, folder: Path) -> list[Path]:
        """Write a store for every ``size`` batches, and beside it the outcomes, which say that it is complete.

        Returns:
            The stores, in the order of the images; those that were complete already are left as they are.
        """
        remaining, portions = iter(batches), []
        while first := next(remaining, None):
            portion = itertools.chain([first], itertools.islice(remaining, size - 1))
            portions.append(folder / f"{len(portions)}.arrow")
            if portions[-1].with_suffix(".json").is_file():
                for _ in portion:
                    pass
                continue
            outcomes: list[tuple[str, str, str, str]] = []
            store.write(portions[-1], self.rows(portion, outcomes), {}, may_be_empty=True)
            write_json(portions[-1].with_suffix(".json"), outcomes)
        return portions

    def rows(self, batches: Iterable[list[SourceImage]], outcomes: list[tuple]) -> Iterator[store.StoreRow]:
        """The rows of the store; the outcome of each image is appended to ``outcomes``."""
        for image, result in _align_batches(batches, self.root, self.detector, outcomes):
            yield store.StoreRow(
                image=_png(result.pixels),
                label=self.labels[image.identity],
                identity=image.identity,
                source=image.path,
                landmarks=result.landmarks,
                score=result.score,
                detection_status=result.detection_status,
            )


def _read_outcomes(portion: Path) -> list[list[str]]:
    return read_json(portion.with_suffix(".json"))


def _as_text(outcomes: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Outcomes as text in Arrow's memory, which takes a fraction of that of Python's objects."""
    columns = zip(*outcomes) if outcomes else ([] for _ in OUTCOME_COLUMNS)
    return pd.DataFrame({name: pd.array(list(each), TEXT) for name, each in zip(OUTCOME_COLUMNS, columns)})


def align_images(
    images: list[SourceImage], root: Path, detector: Detector | None, batch_size: int, outcomes: list[tuple]
) -> Iterator[tuple[SourceImage, AlignmentResult]]:
    """Every readable image, aligned; the outcome of each image is appended to ``outcomes``.

    Without a ``detector``, by the detections that the images come with; one that has none counts as without a face.
    """
    batches = progress(_batches(images, batch_size), "align", "batch", -(-len(images) // batch_size))
    return _align_batches(batches, root, detector, outcomes)


def _align_batches(
    batches: Iterable[list[SourceImage]], root: Path, detector: Detector | None, outcomes: list[tuple]
) -> Iterator[tuple[SourceImage, AlignmentResult]]:
    for batch in batches:
        unreadable: list[tuple] = []
        aligned: list[tuple] = []
        for readable in _groups(batch, root, unreadable):
            if detector:
                detections = detector.detect([pixels for _, pixels in readable])
            else:
                detections = [[image.detection] if image.detection else [] for image, _ in readable]
            for (image, pixels), found in zip(readable, detections, strict=True):
                result = align_face(pixels, found)
                aligned.append((image.path, image.identity, store.DETECTION_STATUS[result.detection_status], ""))
                yield image, result
        outcomes += unreadable + aligned


def _groups(
    images: list[SourceImage], root: Path, unreadable: list[tuple]
) -> Iterator[list[tuple[SourceImage, np.ndarray]]]:
    """The readable images with their pixels, as many together as :data:`PIXELS_TOGETHER` allows, but at least one."""
    group, held = [], 0
    for image in images:
        try:
            pixels = read_image(root / image.path)
        except (ValueError, OSError) as error:
            unreadable.append((image.path, image.identity, "unreadable", str(error)))
            continue
        number = pixels.shape[0] * pixels.shape[1]
        if group and held + number > PIXELS_TOGETHER:
            yield group
            group, held = [], 0
        group.append((image, pixels))
        held += number
    if group:
        yield group


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
    tables: list[pd.DataFrame] = []
    outcomes: list[tuple[str, str, str, str]] = []

    def rows() -> Iterator[store.StoreRow]:
        for content, identity, name in progress(faces, "store", "face"):
            problem = face_problem(content)
            status = store.DETECTION_STATUS[store.ONE_FACE]
            outcomes.append((name, identity, "unreadable" if problem else status, problem))
            if not problem:
                label = labels.setdefault(identity, len(labels))
                unknown = np.full(10, np.nan, np.float32)
                yield store.StoreRow(content, label, identity, name, unknown, float("nan"), store.ONE_FACE)
            if len(outcomes) == LINES_TOGETHER:
                tables.append(_as_text(outcomes))
                outcomes.clear()
        tables.append(_as_text(outcomes))
        number = sum(map(len, tables))
        if number and not labels:
            listed = count_reasons(itertools.chain.from_iterable(table.reason for table in tables))
            raise ValueError(
                f"{origin.get('origin', 'the source')}: none of its {number} faces can be stored: {listed}. "
                f"They must be aligned to ArcFace's template at {SIZE}×{SIZE}: export them as photographs, one folder "
                "per identity, and use source: folder, which aligns them"
            )

    metadata = {**origin, "template": "the source's own", "detector": "the source's own"}
    store.write(output, rows(), metadata | {"libraries": library_versions()})
    return pd.concat(tables, ignore_index=True)


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
        labels, length = _read_labels(acquired.manifest)
        part = _shard(length, settings["shards"], shard)
        images = ListedImages(acquired.manifest, part, opened.detections(Path(acquired.images)))
        table = build_store(images, labels, acquired.images, settings, origin, output)
    write_table(outcomes, table)
    summary(f"shard {shard + 1}: {count_outcomes(table)}")


def _read_labels(manifest: str) -> tuple[dict[str, int], int]:
    """Identity to its label, in the order of the manifest, and the number of images."""
    labels: dict[str, int] = {}
    length = 0
    for lines in _read_lines(manifest, ["identity"]):
        for name in lines.identity.unique():
            labels.setdefault(name, len(labels))
        length += len(lines)
    return labels, length


def _shard(length: int, shards: int, shard: int) -> range:
    """The places of a shard's images: consecutive ones; the first shards have one more, as in ``np.array_split``."""
    size, larger = divmod(length, shards)
    start = shard * size + min(shard, larger)
    return range(start, start + size + (shard < larger))


class ListedImages(Collection[SourceImage]):
    """The images at the ``places`` of a manifest (CSV), which is read a part at a time whenever they are asked for."""

    def __init__(self, manifest: str, places: range, detections: dict[str, Detection]):
        self._manifest, self._places, self._detections = manifest, places, detections

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[SourceImage]:
        for lines in _read_lines(self._manifest, ["path", "identity"]):
            for path, identity in lines.loc[self._places.start : self._places.stop - 1].itertuples(index=False):
                yield SourceImage(path, identity, self._detections.get(path))
            if lines.index[-1] >= self._places.stop:
                return

    def __contains__(self, image: object) -> bool:
        return any(image == each for each in self)


def _read_lines(path: str, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Columns of a table (CSV) as text, :data:`LINES_TOGETHER` lines at a time; the index counts lines from 0."""
    with pd.read_csv(path, usecols=columns, dtype=str, keep_default_na=False, chunksize=LINES_TOGETHER) as parts:
        for lines in parts:
            if len(lines):
                yield lines[columns]


def merge_shards(shards: list[str], shard_outcomes: list[str], output: str, outcomes: str) -> None:
    """Merge the shards of a data set into its face store, and their outcomes into one table.

    Raises:
        ValueError: no image could be read; the message says why.
    """
    counts = Counter[str]()
    for path in shard_outcomes:
        for lines in read_outcomes(path):
            counts.update(lines.outcome.value_counts().to_dict())
    if counts.total() and counts.keys() == {"unreadable"}:
        reasons = (reason for path in shard_outcomes for lines in read_outcomes(path) for reason in lines.reason)
        raise ValueError(f"none of the {counts.total()} images could be read: {count_reasons(reasons)}")
    store.merge(shards, output)
    with atomic_write(outcomes) as temporary, temporary.open("wb") as merged:
        for number, path in enumerate(shard_outcomes):
            with Path(path).open("rb") as part:
                header = part.readline()
                merged.write(b"" if number else header)
                shutil.copyfileobj(part, merged)
    summary(_in_words(counts))


def read_outcomes(path: str) -> Iterator[pd.DataFrame]:
    """The outcomes of images that :func:`write_shard` or :func:`merge_shards` wrote, some lines at a time."""
    return _read_lines(path, OUTCOME_COLUMNS)


def count_reasons(reasons: Iterable[str]) -> str:
    """The most frequent reasons why images are not stored, with their numbers."""
    counts = Counter(reasons)
    listed = "; ".join(f"{number} × {reason}" for reason, number in counts.most_common(SHOWN))
    return f"{listed}; and {len(counts) - SHOWN} other reasons" if len(counts) > SHOWN else listed


def count_outcomes(table: pd.DataFrame) -> str:
    """One line: the number of images, and of each outcome."""
    return _in_words(Counter(table.outcome.value_counts().to_dict()))


def _in_words(counts: Counter[str]) -> str:
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
    return f"{counts.total()} images: {numbers}"
