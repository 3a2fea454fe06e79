"""Weights files: safetensors that alone suffice to open a network and use it rightly."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from triplet_distillation import registry
from triplet_distillation.files import whole
from triplet_distillation.logs import summary
from triplet_distillation.provenance import file_digest

INPUT = {"input_size": [112, 112], "colour_order": "RGB", "pixel_mean": 127.5, "pixel_scale": 128.0}
"""What every network trained here takes: (pixel − mean) / scale, NCHW float32."""

METADATA = "triplet_distillation"
"""The one key of the file's metadata: safetensors writes several in an order that changes from run to run."""


def create(settings: dict) -> nn.Module:
    """The network that ``settings`` (``architecture`` and its arguments) describe, newly initialised."""
    arguments = {key: value for key, value in settings.items() if key != "architecture"}
    return registry.load("networks", settings["architecture"])(**arguments)


def save(path: str | Path, network: nn.Module, settings: dict, provenance: dict) -> None:
    """Write ``network`` with its ``settings`` and provenance (study, digest, …) in the metadata.

    The bytes depend on the weights and the metadata alone: no time, no host.
    """
    takes = getattr(network, "input", INPUT)
    metadata = json.dumps({"network": settings, "input": takes, **provenance}, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with whole(path) as temporary:
        save_file(tensors, temporary, {METADATA: metadata})


def bring(name: str, settings: dict, source: str, study: str, output: str) -> None:
    """Take weights that were not trained here as those of a model of this study.

    Args:
        name: of the model (teacher, student).
        settings: of its network.
        source: safetensors, or a state dictionary (``.pt``, ``.pth``) that names the network's
            own parameters; a network that holds its weights (ONNX) names its model itself.
        study: for the metadata.
        output: the weights file.

    Raises:
        ValueError: the weights are not of this network.
    """
    network = create(settings)
    if not getattr(network, "holds_its_weights", False):
        if source.endswith(".safetensors"):
            state = load_file(source)
        else:
            state = torch.load(source, weights_only=True, map_location="cpu")
        try:
            network.load_state_dict(state)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"{source} does not hold the weights of {settings}: {error}") from error
    save(output, network, settings, {"study": study, "model": name, "brought": file_digest(source)})
    summary(f"{name}: weights from {Path(source).name}")


def read_metadata(path: str | Path) -> dict:
    """The metadata of a weights file.

    Raises:
        ValueError: the file is not one that :func:`save` wrote.
    """
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata() or {}
    if METADATA not in metadata:
        raise ValueError(f"{path} names no network in its metadata: it was not written by this workflow")
    return json.loads(metadata[METADATA])


def load(path: str | Path) -> tuple[nn.Module, dict]:
    """The network of a weights file, in evaluation mode, and the file's metadata.

    Raises:
        ValueError: the file is not one that :func:`save` wrote.
    """
    metadata = read_metadata(path)
    network = create(metadata["network"])
    with safe_open(path, framework="pt") as opened:
        network.load_state_dict({name: opened.get_tensor(name) for name in list(opened.keys())})
    return network.eval(), metadata


def pixels_of(images: torch.Tensor) -> torch.Tensor:
    """The pixels 0 … 255 that :func:`normalise_pixels` made ``images`` of."""
    return images * INPUT["pixel_scale"] + INPUT["pixel_mean"]


def normalise_pixels(images: torch.Tensor) -> torch.Tensor:
    """uint8 images [B, 3, H, W] to the networks' float32 input, (pixel − 127.5) / 128."""
    return (images.float() - INPUT["pixel_mean"]) / INPUT["pixel_scale"]
