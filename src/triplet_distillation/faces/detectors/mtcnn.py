"""MTCNN (Zhang et al. 2016) in PyTorch, with the weights of the package ``mtcnn``.

The detections are those of the package: image pyramid, networks, thresholds and
non-maximum suppression are the same, but TensorFlow is not needed. Only the weight files of the
installed package are read, after their checksums are verified; the package itself is not
imported.
"""

import contextlib
import hashlib
import importlib.metadata
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import cv2
import joblib
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.faces.detectors import Detection, Detector

CHECKSUMS = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
"""SHA-256 of the weight files of mtcnn 1.0.0: no other file is unpickled."""

MIN_FACE_SIZE, CELL, STRIDE, PYRAMID_FACTOR = 20, 12, 2, 0.709
PROPOSAL_THRESHOLD, REFINE_THRESHOLD, OUTPUT_THRESHOLD = 0.6, 0.7, 0.8
MAX_OVERLAP_WITHIN_SCALE, MAX_OVERLAP = 0.5, 0.7
CROP_PIXELS = 4096 * 24**2
"""Pixels of the crops that a network sees together: a photograph of a crowd has thousands of candidates."""
OVERLAPS = 1 << 22
"""Overlaps between two boxes that are in memory together, for the same reason."""


class MTCNNDetector(Detector):
    """The package's detector with its published thresholds.

    Args:
        threads: PyTorch's threads during detection.
    """

    description = f"mtcnn {importlib.metadata.version('mtcnn')} (weights; networks in PyTorch)"

    def __init__(self, *, threads: int = 1):
        self._threads = threads
        self._proposal, self._refine, self._output = (_network(name) for name in CHECKSUMS)

    @torch.inference_mode()
    def detect(self, images: list[np.ndarray]) -> list[list[Detection]]:
        """The faces in each RGB uint8 image [H, W, 3]; images of the same shape are processed together."""
        found: list[list[Detection]] = [[] for _ in images]
        by_shape: dict[tuple, list[int]] = {}
        for index, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(index)
        with _threads(self._threads):
            for indices in by_shape.values():
                for index, detections in zip(indices, self._detect_same_shape([images[index] for index in indices])):
                    found[index] = detections
        return found

    def _detect_same_shape(self, images: list[np.ndarray]) -> list[list[Detection]]:
        normalized = [_normalized(image) for image in images]
        boxes = self._propose(normalized)
        tensors = [torch.from_numpy(image)[None].permute(0, 3, 1, 2) for image in normalized]
        boxes = self._refine_boxes(tensors, boxes)
        return self._output_faces(tensors, boxes)

    def _propose(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Square candidate boxes of each image: rows x1, y1, x2, y2, score, best first."""
        height, width = images[0].shape[:2]
        by_scale = []
        for scale in pyramid(height, width):
            size = (int(width * scale), int(height * scale))
            levels = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
            offsets, scores = self._proposal(_as_batch(levels))
            by_scale.append(_candidates(offsets, scores, scale))
        boxes = []
        for image_boxes in zip(*by_scale):
            kept = [non_max_suppression(candidates, MAX_OVERLAP_WITHIN_SCALE) for candidates in image_boxes]
            boxes.append(_square(non_max_suppression(np.concatenate(kept), MAX_OVERLAP)))
        return boxes

    def _refine_boxes(self, images: list[torch.Tensor], boxes: list[np.ndarray]) -> list[np.ndarray]:
        offsets, scores = _evaluate(self._refine, images, boxes, 24)
        refined = []
        for image_boxes, offset, score in _split(boxes, offsets, scores):
            moved = _move(image_boxes, offset, score)
            refined.append(_square(non_max_suppression(moved[score > REFINE_THRESHOLD], MAX_OVERLAP)))
        return refined

    def _output_faces(self, images: list[torch.Tensor], boxes: list[np.ndarray]) -> list[list[Detection]]:
        offsets, landmarks, scores = _evaluate(self._output, images, boxes, 48)
        height, width = images[0].shape[2:]
        found = []
        for image_boxes, offset, points, score in _split(boxes, offsets, landmarks, scores):
            x1, y1, x2, y2 = image_boxes[:, :4].T[:, :, None]
            xs = (x2 - x1 + 1) * points[:, :5] + x1 - 1
            ys = (y2 - y1 + 1) * points[:, 5:] + y1 - 1
            rows = np.hstack([_move(image_boxes, offset, score), xs, ys])
            rows = non_max_suppression(rows[score > OUTPUT_THRESHOLD], MAX_OVERLAP, over_smaller=True)
            rows[:, :4] = rows[:, :4].clip(0, (width - 1, height - 1) * 2)
            found.append([Detection(row[:4], row[5:].reshape(2, 5).T, float(row[4])) for row in rows])
        return found


@contextlib.contextmanager
def _threads(number: int) -> Generator[None]:
    """Compute with ``number`` of PyTorch's threads; afterwards, with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pyramid(height: int, width: int) -> list[float]:
    """Scales at which the proposal network sees an image, largest first; empty if the image is too small."""
    levels = round(-(np.log(min(height, width) / CELL) / np.log(PYRAMID_FACTOR) + 1))
    return [CELL / MIN_FACE_SIZE * PYRAMID_FACTOR**level for level in range(levels)]


def non_max_suppression(boxes: np.ndarray, max_overlap: float, over_smaller: bool = False) -> np.ndarray:
    """Rows of ``boxes``, best first, that do not overlap a better one by more than ``max_overlap``.

    Args:
        boxes: rows x1, y1, x2, y2, score, ….
        over_smaller: divide the overlap by the smaller box instead of the union.

    Unlike in greedy NMS, any better box removes a box, even if it is itself removed, as in
    the package.
    """
    boxes = boxes[np.argsort(boxes[:, 4], kind="stable")[::-1]]
    x1, y1, x2, y2 = boxes[:, :4].T
    area = (x2 - x1) * (y2 - y1)
    kept = np.ones(len(boxes), bool)
    portion = OVERLAPS // max(1, len(boxes)) + 1
    for start in range(0, len(boxes), portion):
        these, better = slice(start, start + portion), slice(start + portion)  # all that are better, and these
        width = np.minimum.outer(x2[better], x2[these]) - np.maximum.outer(x1[better], x1[these])
        height = np.minimum.outer(y2[better], y2[these]) - np.maximum.outer(y1[better], y1[these])
        common = width.clip(0) * height.clip(0)
        areas = area[better], area[these]
        total = np.minimum.outer(*areas) if over_smaller else np.add.outer(*areas) - common
        kept[these] = ~np.triu(common > max_overlap * total, k=1 - start).any(axis=0)
    return boxes[kept]


def _candidates(offsets: torch.Tensor, scores: torch.Tensor, scale: float) -> list[np.ndarray]:
    """Boxes, in image coordinates, of every cell whose score is above the threshold: one array per image."""
    image, row, column = (scores > PROPOSAL_THRESHOLD).nonzero(as_tuple=True)
    offset = offsets[image, :, row, column].numpy().astype(float)
    corner = np.stack([column.numpy(), row.numpy()], axis=1) * STRIDE
    first, last = corner + 1, corner + CELL
    side = CELL - 1
    boxes = np.hstack([first + offset[:, :2] * side, last + offset[:, 2:] * side]) / scale
    boxes = np.hstack([boxes, scores[image, row, column].numpy()[:, None]])
    ends = np.searchsorted(image.numpy(), np.arange(1, len(scores)))
    return np.split(boxes, ends)


def _square(boxes: np.ndarray) -> np.ndarray:
    """Boxes extended about their centers to squares."""
    size = boxes[:, 2:4] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    first = boxes[:, :2] + (size - side) / 2
    return np.hstack([first, first + side, boxes[:, 4:]])


def _move(boxes: np.ndarray, offset: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Boxes moved by the network's offsets (fractions of their size), with its scores."""
    size = boxes[:, 2:4] - boxes[:, :2] + 1
    return np.hstack([boxes[:, :4] + offset * np.tile(size, 2), score[:, None]])


def _split(boxes: list[np.ndarray], *outputs: torch.Tensor):
    """The boxes of each image with their part of the network's outputs."""
    ends = np.cumsum([len(each) for each in boxes])[:-1]
    return zip(boxes, *(np.split(output.numpy().astype(float), ends) for output in outputs))


def _normalized(image: np.ndarray) -> np.ndarray:
    """An image as the networks see it, float32 [H, W, 3], without a further copy of a large one."""
    normalized = image.astype(np.float32)
    normalized -= 127.5
    normalized /= 128
    return normalized


def _as_batch(images: list[np.ndarray]) -> torch.Tensor:
    """[N, 3, H, W] of arrays [H, W, 3], channels last, which makes pooling and small convolutions 2–4 times faster."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _evaluate(
    network: nn.Module, images: list[torch.Tensor], boxes: list[np.ndarray], size: int
) -> tuple[torch.Tensor, ...]:
    """A network's outputs for the boxes of all images, at most :data:`CROP_PIXELS` at a time."""
    starts = np.cumsum([0, *(len(each) for each in boxes)])
    portion = CROP_PIXELS // size**2
    outputs = []
    for first in range(0, max(1, int(starts[-1])), portion):
        chosen = [each[max(0, first - start) : max(0, first + portion - start)] for each, start in zip(boxes, starts)]
        outputs.append(network(_crops(images, chosen, size)))
    return tuple(torch.cat(each) for each in zip(*outputs))


def _crops(images: list[torch.Tensor], boxes: list[np.ndarray], size: int) -> torch.Tensor:
    """The boxes' contents resized to size × size (bilinear, corners aligned, 0 outside), [boxes, 3, size, size]."""
    crops = [_crops_of_one(image, image_boxes, size) for image, image_boxes in zip(images, boxes) if len(image_boxes)]
    batch = torch.cat(crops) if crops else torch.empty(0, 3, size, size)
    return batch.contiguous(memory_format=torch.channels_last)


def _crops_of_one(image: torch.Tensor, boxes: np.ndarray, size: int) -> torch.Tensor:
    height, width = image.shape[2:]
    corners = torch.from_numpy(boxes[:, :4]).float()
    share = torch.linspace(0, 1, size)
    # a box from 0 to the image's width extends from its first to its last pixel: hence (width − 1) / width
    x = (corners[:, 0:1] + share * (corners[:, 2:3] - corners[:, 0:1])) / width * 2 - 1
    y = (corners[:, 1:2] + share * (corners[:, 3:4] - corners[:, 1:2])) / height * 2 - 1
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
    contents = functional.grid_sample(image, grid.reshape(1, -1, size, 2), align_corners=True)
    contents = contents.view(3, len(boxes), size, size).transpose(0, 1)
    inside = (grid.abs() <= 1).all(dim=-1)
    return contents * inside[:, None]


class _Cascade(nn.Module):
    """A network of the cascade: convolutions with PReLU and pooling, then dense layers or 1×1 convolutions."""

    def __init__(self, body: nn.Module, heads: Sequence[nn.Module]):
        super().__init__()
        self.body, self.heads = body, nn.ModuleList(heads)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Offsets (and landmarks) unchanged, and the probability of the class "face"."""
        features = self.body(x)
        *others, classes = (head(features) for head in self.heads)
        return *others, classes.softmax(dim=1)[:, 1]


class _FlattenWidthFirst(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 3, 2, 1).flatten(1)


class _MaxPool(nn.Module):
    """Max pooling with stride 2, as ``nn.MaxPool2d``, which also computes indices that nobody reads.

    The maximum of strided slices of a channels-last tensor, first along the height, then
    along the width, is the same and several times faster.
    """

    def __init__(self, kernel: int, ceil_mode: bool):
        super().__init__()
        self.kernel, self.ceil_mode = kernel, ceil_mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._pool(self._pool(x, 2), 3)

    def _pool(self, x: torch.Tensor, dimension: int) -> torch.Tensor:
        size = x.shape[dimension]
        complete = max(0, (size - self.kernel) // 2 + 1)  # windows that are entirely inside
        has_edge = self.ceil_mode and (size - self.kernel) % 2 == 1 and 2 * complete < size  # a last, incomplete window
        shape = list(x.shape)
        shape[dimension] = complete + has_edge
        pooled = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        if complete:
            windows = [_strided(x, dimension, offset, complete) for offset in range(self.kernel)]
            inside = pooled.narrow(dimension, 0, complete)
            torch.maximum(windows[0], windows[1], out=inside)
            for window in windows[2:]:
                torch.maximum(inside, window, out=inside)
        if has_edge:
            edge = x.narrow(dimension, 2 * complete, size - 2 * complete).amax(dimension, keepdim=True)
            pooled.narrow(dimension, complete, 1).copy_(edge)
        return pooled


def _strided(x: torch.Tensor, dimension: int, offset: int, count: int) -> torch.Tensor:
    """Every second row (or column) from ``offset``, ``count`` of them, as a view."""
    index = [slice(None)] * x.ndim
    index[dimension] = slice(offset, offset + 2 * count - 1, 2)
    return x[tuple(index)]


POOLS = {
    "pnet": [_MaxPool(2, True), None, None],
    "rnet": [_MaxPool(3, True), _MaxPool(3, False), None],
    "onet": [_MaxPool(3, True), _MaxPool(3, False), _MaxPool(2, True), None],
}
"""The pooling after each convolution; the package's "same" padding is rounding up here."""


def _network(name: str) -> _Cascade:
    """One of the three networks, with the package's weights."""
    arrays = iter(_read_weights(name))
    body = []
    for pool in POOLS[name]:
        body += [_convolution(next(arrays), next(arrays)), _prelu(next(arrays))]
        body += [pool] if pool else []
    make_head: Callable[[np.ndarray, np.ndarray], nn.Module] = _convolution
    if name != "pnet":
        body += [_FlattenWidthFirst(), _dense(next(arrays), next(arrays)), _prelu(next(arrays))]
        make_head = _dense
    heads = [make_head(weight, bias) for weight, bias in zip(arrays, arrays)]
    cascade = _Cascade(nn.Sequential(*body), heads).eval()
    return cascade.to(memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]  PyTorch's stub lacks memory_format


def _read_weights(name: str) -> list[np.ndarray]:
    path = Path(str(importlib.metadata.distribution("mtcnn").locate_file(f"mtcnn/assets/weights/{name}.lz4")))
    if hashlib.sha256(path.read_bytes()).hexdigest() != CHECKSUMS[name]:
        raise ValueError(f"{path} is not the file of mtcnn 1.0.0: reinstall with pip install --force mtcnn==1.0.0")
    return joblib.load(path)


def _convolution(weight: np.ndarray, bias: np.ndarray) -> nn.Conv2d:
    height, width, channels_in, channels = weight.shape
    layer = nn.Conv2d(channels_in, channels, (height, width))
    layer.weight = nn.Parameter(torch.from_numpy(weight.transpose(3, 2, 0, 1).copy()))
    layer.bias = nn.Parameter(torch.from_numpy(bias))
    return layer


def _dense(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    layer.weight = nn.Parameter(torch.from_numpy(weight.T.copy()))
    layer.bias = nn.Parameter(torch.from_numpy(bias))
    return layer


def _prelu(slopes: np.ndarray) -> nn.PReLU:
    layer = nn.PReLU(slopes.size)
    layer.weight = nn.Parameter(torch.from_numpy(slopes.ravel().copy()))
    return layer
