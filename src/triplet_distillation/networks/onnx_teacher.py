"""An ONNX model as a network: InsightFace's, OpenCV's SFace, a user's own; it can teach, not be trained."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from triplet_distillation.networks.weights import pixels_of

PER_ELEMENT = {"BatchNormalization": 2, "PRelu": 2, "Add": 1, "Sub": 1, "Mul": 1}
"""Operations a value of the output, as :mod:`.profile` counts them."""


class Network(nn.Module):
    """Runs in ONNX Runtime, on a GPU where its build for GPUs is installed.

    Args:
        path: of the model, seen from the working folder where it is not absolute. A weights
            file made of this network holds the model itself, and does not need it any more.
        colour_order: RGB or BGR, of the model's input.
        pixel_mean, pixel_scale: the model's input is (pixel − mean) / scale, pixels being 0 … 255.
        session_options: entries of ONNX Runtime's session configuration, such as
            ``{session.disable_quant_qdq: "1"}``.

    Raises:
        FileNotFoundError: there is no model at ``path``.
        ValueError: no such colour order, or the model takes no 112×112 images.
    """

    holds_its_weights = True

    def __init__(
        self,
        *,
        path: str,
        colour_order: str = "RGB",
        pixel_mean: float = 127.5,
        pixel_scale: float = 128.0,
        session_options: dict | None = None,
    ):
        super().__init__()
        if colour_order not in ("RGB", "BGR"):
            raise ValueError(f"colour_order is {colour_order!r}: choose RGB or BGR")
        self.path, self.colour_order = path, colour_order
        self.pixel_mean, self.pixel_scale = pixel_mean, pixel_scale
        self.session_options = session_options or {}
        self._model: torch.Tensor | None = None
        self._session = None

    @property
    def input(self) -> dict:
        """What the model itself takes, for the metadata of weights and embeddings."""
        return {
            "input_size": [112, 112],
            "colour_order": self.colour_order,
            "pixel_mean": self.pixel_mean,
            "pixel_scale": self.pixel_scale,
        }

    @property
    def embedding_size(self) -> int:
        return self.session.get_outputs()[0].shape[-1]

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """Opened when it is first used; with PyTorch's number of threads."""
        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            for key, value in self.session_options.items():
                options.add_session_config_entry(key, str(value))
            there = onnxruntime.get_available_providers()
            wanted = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in there]
            self._session = onnxruntime.InferenceSession(self.get_extra_state().numpy().tobytes(), options, wanted)
            shape = self._session.get_inputs()[0].shape
            if list(shape[1:]) != [3, 112, 112]:
                raise ValueError(f"{self.path} takes images {shape}, not [N, 3, 112, 112]: it is no network for these")
        return self._session

    def get_extra_state(self) -> torch.Tensor:
        """The model's bytes, which are this network's weights."""
        if self._model is None:
            if not Path(self.path).is_file():
                raise FileNotFoundError(f"there is no ONNX model at {self.path}: mend path of the network")
            self._model = torch.from_numpy(np.fromfile(self.path, np.uint8))
        return self._model

    def set_extra_state(self, state: torch.Tensor) -> None:
        self._model, self._session = state, None

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings of images that are normalised as for every network here."""
        pixels = pixels_of(x)
        if self.colour_order == "BGR":
            pixels = pixels.flip(1)
        images = ((pixels - self.pixel_mean) / self.pixel_scale).contiguous().cpu().numpy()
        asked = self.session.get_inputs()[0]
        size = asked.shape[0] if isinstance(asked.shape[0], int) else len(images)
        parts = [
            self.session.run(None, {asked.name: images[first : first + size]})[0]
            for first in range(0, len(images), size)
        ]
        return torch.from_numpy(np.concatenate(parts)).to(x.device)

    def cost(self) -> dict:
        """``parameters``, ``size_mib`` of the file, ``flops`` and ``flops_elementwise`` of one image, off the graph."""
        content = self.get_extra_state().numpy().tobytes()
        graph = onnx.shape_inference.infer_shapes(_of_one_image(onnx.load_from_string(content))).graph
        shapes = {
            value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
            for value in [*graph.value_info, *graph.output, *graph.input]
        } | {weights.name: list(weights.dims) for weights in graph.initializer}
        scales = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.input[1:]}
        flops = 2 * sum(_products(node, shapes) for node in graph.node)
        elementwise = sum(PER_ELEMENT.get(node.op_type, 0) * math.prod(shapes[node.output[0]]) for node in graph.node)
        return {
            "parameters": sum(math.prod(w.dims) for w in graph.initializer if w.name not in scales),
            "size_mib": len(content) / 2**20,
            "flops": flops,
            "flops_elementwise": flops + elementwise,
        }


def _of_one_image(model: onnx.ModelProto) -> onnx.ModelProto:
    weights = {each.name for each in model.graph.initializer}  # which older models list among the inputs, too
    images = next(value for value in model.graph.input if value.name not in weights)
    for value in [images, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    return model


def _products(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    """Multiply-adds of a convolution or a matrix product."""
    if node.op_type == "Conv":
        weights = shapes[node.input[1]]
        return math.prod(shapes[node.output[0]]) * math.prod(weights[1:])
    if node.op_type in ("Gemm", "MatMul"):
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[0]][1:])
    return 0
