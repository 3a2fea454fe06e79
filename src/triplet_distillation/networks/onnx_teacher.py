"""An ONNX model as a teacher: InsightFace's, OpenCV's SFace, a user's own. It cannot be trained."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from triplet_distillation.networks import Network
from triplet_distillation.networks.weights import to_pixels

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

    Raises:
        FileNotFoundError: there is no model at ``path``.
        ValueError: unknown color order, or the model's input is not 112×112 images.
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
    ):
        super().__init__()
        if color_order not in ("RGB", "BGR"):
            raise ValueError(f"color_order is {color_order!r}: choose RGB or BGR")
        self.path, self.color_order = path, color_order
        self.pixel_mean, self.pixel_scale = pixel_mean, pixel_scale
        self.session_options = session_options or {}
        self._model: torch.Tensor | None = None
        self._session: onnxruntime.InferenceSession | None = None

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
        return self.session.get_outputs()[0].shape[-1]

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """The ONNX Runtime session, opened on first use, with PyTorch's number of threads."""
        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            for key, value in self.session_options.items():
                options.add_session_config_entry(key, str(value))
            available = onnxruntime.get_available_providers()
            providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
            session = onnxruntime.InferenceSession(self.get_extra_state().numpy().tobytes(), options, providers)
            shape = session.get_inputs()[0].shape
            if list(shape[1:]) != [3, 112, 112]:
                raise ValueError(f"{self.path} takes images {shape}, not [N, 3, 112, 112]: it cannot be used here")
            self._session = session
        return self._session

    def get_extra_state(self) -> torch.Tensor:
        """The bytes of the model, which are this network's weights."""
        if self._model is None:
            if not Path(self.path).is_file():
                raise FileNotFoundError(f"there is no ONNX model at {self.path}: correct the network's path")
            self._model = torch.from_numpy(np.fromfile(self.path, np.uint8))
        return self._model

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Replace the model by the bytes in ``state``."""
        self._model, self._session = state, None

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings of images that are normalized as for every other network."""
        pixels = to_pixels(x)
        if self.color_order == "BGR":
            pixels = pixels.flip(1)
        images = ((pixels - self.pixel_mean) / self.pixel_scale).contiguous().cpu().numpy()
        model_input = self.session.get_inputs()[0]
        size = model_input.shape[0] if isinstance(model_input.shape[0], int) else len(images)
        parts = [
            np.asarray(self.session.run(None, {model_input.name: images[first : first + size]})[0])
            for first in range(0, len(images), size)
        ]
        return torch.from_numpy(np.concatenate(parts)).to(x.device)

    def cost(self) -> dict:
        """``parameters``, ``size_mib`` of the file, ``flops`` and ``flops_elementwise`` for one image."""
        content = self.get_extra_state().numpy().tobytes()
        graph = onnx.shape_inference.infer_shapes(_with_batch_of_one(onnx.load_from_string(content))).graph
        shapes = {
            value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
            for value in [*graph.value_info, *graph.output, *graph.input]
        } | {weights.name: list(weights.dims) for weights in graph.initializer}
        scales = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.input[1:]}
        flops = 2 * sum(_multiply_adds(node, shapes) for node in graph.node)
        elementwise = sum(PER_ELEMENT.get(node.op_type, 0) * math.prod(shapes[node.output[0]]) for node in graph.node)
        return {
            "parameters": sum(math.prod(w.dims) for w in graph.initializer if w.name not in scales),
            "size_mib": len(content) / 2**20,
            "flops": flops,
            "flops_elementwise": flops + elementwise,
        }


def _with_batch_of_one(model: onnx.ModelProto) -> onnx.ModelProto:
    weights = {each.name for each in model.graph.initializer}  # which older models list among the inputs as well
    images = next(value for value in model.graph.input if value.name not in weights)
    for value in [images, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
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
