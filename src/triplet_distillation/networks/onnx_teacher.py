"""An ONNX model as a teacher: InsightFace's, OpenCV's SFace, a user's own. It cannot be trained."""

import logging
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch

from triplet_distillation.embeddings import check_embeddings
from triplet_distillation.networks import Network
from triplet_distillation.networks.weights import first_line, to_pixels

log = logging.getLogger(__name__)
CHANNELS_FIRST, CHANNELS_LAST = [3, 112, 112], [112, 112, 3]
"""Shapes of an image that a model may take."""
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
"""Types of numbers that a model may take, by ONNX Runtime's names."""
SAME_COSINE = 0.99
"""Lowest cosine of an image's embeddings, computed alone and in a batch, at which they count as the same."""
PER_ELEMENT = {"BatchNormalization": 2, "PRelu": 2, "Add": 1, "Sub": 1, "Mul": 1}
"""Operations per output value, as :mod:`.profile` counts them."""


class ONNXTeacher(Network):
    """Runs in ONNX Runtime, on a GPU if its GPU build is installed.

    Args:
        path: of the model, relative to the working directory unless absolute. A weights
            file made from this network contains the model itself and no longer needs it.
        color_order: RGB or BGR, of the model's input.
        pixel_mean, pixel_scale: the model's input is (pixel − mean) / scale for pixels 0 … 255.
        session_options: entries of ONNX Runtime's session configuration, such as
            ``{session.disable_quant_qdq: "1"}``.
        output: name of the output that is the embedding; only needed if the model has several that could be.

    The model is tried when it is opened. It takes [N, 3, 112, 112] or [N, 112, 112, 3] in float32, float16 or float64,
    with N fixed or not, and answers [N, D], perhaps with further dimensions of 1.

    Raises:
        FileNotFoundError: there is no model at ``path``.
        ValueError: unknown color order; or, once opened, the model cannot be used, and the message says why.
    """

    pretrained = True

    def __init__(
        self,
        *,
        path: str,
        color_order: str = "RGB",
        pixel_mean: float = 127.5,
        pixel_scale: float = 128.0,
        session_options: dict | None = None,
        output: str = "",
    ):
        super().__init__()
        if color_order not in ("RGB", "BGR"):
            raise ValueError(f"color_order is {color_order!r}: choose RGB or BGR")
        self.path, self.color_order = path, color_order
        self.pixel_mean, self.pixel_scale = pixel_mean, pixel_scale
        self.session_options = session_options or {}
        self._model: torch.Tensor | None = None
        self.output = output
        self._opened: OpenedModel | None = None

    @property
    def input(self) -> dict:
        """The model's own input format, for the metadata of weights and embeddings."""
        return {
            "input_size": [112, 112],
            "color_order": self.color_order,
            "pixel_mean": self.pixel_mean,
            "pixel_scale": self.pixel_scale,
        }

    @property
    def embedding_size(self) -> int:  # ty: ignore[incompatible-property-override]  known once the model is open
        return self.opened.embedding_size

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """The ONNX Runtime session, opened on first use, with PyTorch's number of threads."""
        return self.opened.session

    @property
    def opened(self) -> "OpenedModel":
        """The model, opened and tried on first use."""
        if self._opened is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            for key, value in self.session_options.items():
                options.add_session_config_entry(key, str(value))
            session = _open_session(self.get_extra_state().numpy().tobytes(), options, self.path)
            pixels = np.random.default_rng(0).integers(64, 192, (2, *CHANNELS_FIRST))
            self._opened = _try_out(session, self._normalize(torch.from_numpy(pixels)), self.output, self.path)
        return self._opened

    def get_extra_state(self) -> torch.Tensor:
        """The bytes of the model, which are this network's weights."""
        if self._model is None:
            if not Path(self.path).is_file():
                raise FileNotFoundError(f"there is no ONNX model at {self.path}: correct the network's path")
            self._model = torch.from_numpy(np.fromfile(self.path, np.uint8))
        return self._model

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Replace the model by the bytes in ``state``."""
        self._model, self._opened = state, None

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings of images that are normalized as for every other network."""
        return torch.from_numpy(self.opened.embed(self._normalize(to_pixels(x)))).to(x.device)

    def _normalize(self, pixels: torch.Tensor) -> np.ndarray:
        """The model's input from RGB pixels 0 … 255, [N, 3, 112, 112] float32."""
        if self.color_order == "BGR":
            pixels = pixels.flip(1)
        return ((pixels - self.pixel_mean) / self.pixel_scale).contiguous().cpu().numpy()

    def cost(self) -> dict:
        """``parameters``, ``size_mib`` of the file, ``flops`` and ``flops_elementwise`` for one image."""
        content = self.get_extra_state().numpy().tobytes()
        batch_size = self.opened.batch_size or 1  # inside, a reshape may name it
        model = _with_batch(onnx.load_from_string(content), batch_size, self.opened.channels_last)
        graph = onnx.shape_inference.infer_shapes(model).graph
        shapes = {
            value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
            for value in [*graph.value_info, *graph.output, *graph.input]
        } | {weights.name: list(weights.dims) for weights in graph.initializer}
        scales = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.input[1:]}
        flops = 2 * sum(_multiply_adds(node, shapes) for node in graph.node) // batch_size
        elementwise = (
            sum(PER_ELEMENT.get(node.op_type, 0) * math.prod(shapes[node.output[0]]) for node in graph.node)
            // batch_size
        )
        return {
            "parameters": sum(math.prod(w.dims) for w in graph.initializer if w.name not in scales),
            "size_mib": len(content) / 2**20,
            "flops": flops,
            "flops_elementwise": flops + elementwise,
        }


class OpenedModel(NamedTuple):
    """How a model is run: its ``session``; name and type of its input and whether that has ``channels_last``; the
    ``batch_size`` that it insists on, None for any; name of its output, and ``embedding_size``."""

    session: onnxruntime.InferenceSession
    input: str
    dtype: type[np.floating]
    channels_last: bool
    batch_size: int | None
    output: str = ""
    embedding_size: int = 0

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings [N, D] float32 of images [N, 3, 112, 112], as many at a time as the model takes.

        Raises:
            ValueError: the output is not [N, D].
        """
        size = self.batch_size or len(images)
        parts = [images[first : first + size] for first in range(0, len(images), size)]
        return np.concatenate([_flatten(self.run(part)[self.output], len(part)) for part in parts])

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs, or the one that was chosen, for at most ``batch_size`` images.

        A smaller batch is padded with its last image, and the surplus rows are dropped.
        """
        size = self.batch_size or len(images)
        padded = np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)]).astype(self.dtype)
        if self.channels_last:
            padded = np.ascontiguousarray(padded.transpose(0, 2, 3, 1))
        names = [self.output] if self.output else [each.name for each in self.session.get_outputs()]
        answers = {name: np.asarray(each) for name, each in zip(names, self.session.run(names, {self.input: padded}))}
        return {
            name: each[: len(images)] if len(each.shape) and len(each) == size else each
            for name, each in answers.items()
        }


def _flatten(output: np.ndarray, images: int) -> np.ndarray:
    """An output as embeddings [N, D] float32.

    Raises:
        ValueError: it has another shape, or is not made of floating-point numbers.
    """
    long = [length for length in output.shape[1:] if length > 1]
    if output.ndim < 2 or len(output) != images or len(long) != 1 or not np.issubdtype(output.dtype, np.floating):
        raise ValueError(f"it answers {list(output.shape)} {output.dtype} to {images} images, not [N, D] of floats")
    return output.reshape(images, -1).astype(np.float32)


def _open_session(content: bytes, options: onnxruntime.SessionOptions, path: str) -> onnxruntime.InferenceSession:
    available = onnxruntime.get_available_providers()
    providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
    try:
        return onnxruntime.InferenceSession(content, options, providers)
    except Exception as error:  # ONNX Runtime's errors have no class in common
        raise ValueError(
            f"{path} cannot be opened as an ONNX model ({first_line(error)}): it is truncated, is something else, has "
            "its weights in a second file, or uses operations that this onnxruntime does not have: download or export "
            "it again, in one file"
        ) from error


def _try_out(session: onnxruntime.InferenceSession, images: np.ndarray, output: str, path: str) -> OpenedModel:
    """Find out how a model is run, by running it on one and on two ``images`` [2, 3, 112, 112].

    Raises:
        ValueError: it cannot be used; the message says why.
    """
    opened = _read_input(session, path)
    try:
        answers = opened.run(images[:1])
        opened = opened._replace(output=_choose_output(answers, output))
        alone = _flatten(answers[opened.output], 1)
    except Exception as error:
        batch = opened.batch_size or 1
        raise ValueError(
            f"{path} cannot be used: in a batch of {batch}, {first_line(error)}: correct the network's settings, or "
            "export the model for images [N, 3, 112, 112] and embeddings [N, D]"
        ) from error
    remedy = "its weights are damaged, or it takes other pixels (pixel_mean, pixel_scale): choose another model"
    check_embeddings(alone[:, None], path, lambda _: "a test image", remedy)
    opened = opened._replace(embedding_size=alone.shape[1])
    if opened.batch_size is None and not _batches_agree(opened, images, alone):
        log.warning("%s answers otherwise, or not, to a batch of two: its images are embedded one by one", path)
        return opened._replace(batch_size=1)
    return opened


def _read_input(session: onnxruntime.InferenceSession, path: str) -> OpenedModel:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ValueError(
            f"{path} takes {', '.join(each.name for each in inputs)}, not only images: choose another model"
        )
    (model_input,) = inputs
    shape = list(model_input.shape)
    layouts = [layout for layout in (CHANNELS_FIRST, CHANNELS_LAST) if _fits(shape[1:], layout)]
    if not layouts or model_input.type not in DTYPES:
        raise ValueError(
            f"{path} takes images {shape} {model_input.type}, not [N, 3, 112, 112] or [N, 112, 112, 3] of floats: it "
            "cannot be used here"
        )
    batch_size = shape[0] if isinstance(shape[0], int) else None
    dtype, channels_last = DTYPES[model_input.type], layouts[0] == CHANNELS_LAST
    return OpenedModel(session, model_input.name, dtype, channels_last, batch_size)


def _fits(shape: list, layout: list[int]) -> bool:
    """Whether a declared shape, in which names and None stand for any length, allows ``layout``."""
    return len(shape) == len(layout) and all(
        length == wanted for length, wanted in zip(shape, layout) if isinstance(length, int)
    )


def _choose_output(answers: dict[str, np.ndarray], name: str) -> str:
    """The output that is the embedding: the one with that ``name``, the only one, or the only [N, D] with D > 1."""
    shown = ", ".join(f"{each} {list(answer.shape)}" for each, answer in answers.items())
    if name and name not in answers:
        raise ValueError(f"there is no output {name!r}; its outputs are {shown}")
    vectors = [each for each, answer in answers.items() if answer.ndim == 2 and answer.shape[1] > 1]
    possible = [name] if name else list(answers) if len(answers) == 1 else vectors
    if len(possible) != 1:
        raise ValueError(f"which of its outputs is the embedding is not clear: set output to one of {shown}")
    return possible[0]


def _batches_agree(opened: OpenedModel, images: np.ndarray, first: np.ndarray) -> bool:
    """Whether two images have the same embeddings in a batch as alone; a reshape inside may be for one image only.

    ``first`` [1, D] is that of the first image alone.
    """
    try:
        together = opened.embed(images)
    except Exception:  # ONNX Runtime's, or another shape
        return False
    alone = np.concatenate([first, opened.embed(images[1:])])
    if together.shape != alone.shape:
        return False
    lengths = np.linalg.norm(together, axis=1) * np.linalg.norm(alone, axis=1)
    return bool(((together * alone).sum(axis=1) >= SAME_COSINE * lengths).all())


def _with_batch(model: onnx.ModelProto, batch_size: int, channels_last: bool) -> onnx.ModelProto:
    """The model with an input of exactly ``batch_size`` images, so that all shapes are known."""
    weights = {each.name for each in model.graph.initializer}  # which older models list among the inputs as well
    images = next(value for value in model.graph.input if value.name not in weights)
    for dimension, length in zip(
        images.type.tensor_type.shape.dim, [batch_size, *(CHANNELS_LAST if channels_last else CHANNELS_FIRST)]
    ):
        dimension.dim_value = length
    for value in model.graph.output:
        for dimension in value.type.tensor_type.shape.dim[:1]:
            dimension.dim_value = batch_size
    del model.graph.value_info[:]
    return model


def _multiply_adds(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    """Multiply-adds of a convolution or a matrix product; 0 for other operations."""
    if node.op_type == "Conv":
        weights = shapes[node.input[1]]
        return math.prod(shapes[node.output[0]]) * math.prod(weights[1:])
    if node.op_type in ("Gemm", "MatMul"):
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[0]][1:])
    return 0
