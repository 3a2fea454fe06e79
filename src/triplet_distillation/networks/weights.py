"""Weights files: safetensors whose metadata suffices to rebuild the network and use it correctly."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from triplet_distillation import registry
from triplet_distillation.files import atomic_write
from triplet_distillation.logs import summary
from triplet_distillation.networks import Network
from triplet_distillation.provenance import file_digest, library_versions

PIXEL_MEAN, PIXEL_SCALE = 127.5, 128.0
INPUT: dict[str, Any] = {
    "input_size": [112, 112],
    "color_order": "RGB",
    "pixel_mean": PIXEL_MEAN,
    "pixel_scale": PIXEL_SCALE,
}
"""Input of every network trained here: (pixel − mean) / scale, NCHW float32."""

METADATA = "triplet_distillation"
"""The single metadata key: safetensors writes several keys in an order that changes from run to run."""


def create(settings: dict) -> Network:
    """A newly initialized network from ``settings``: ``architecture`` and its arguments."""
    arguments = {key: value for key, value in settings.items() if key != "architecture"}
    return registry.load("networks", settings["architecture"])(**arguments)


def save(path: str | Path, network: nn.Module, settings: dict, provenance: dict) -> None:
    """Write ``network`` with its ``settings``, provenance (seed, digest, …) and versions of libraries in the metadata.

    The bytes depend only on the weights and the metadata, not on the time or the host.
    """
    network_input = getattr(network, "input", INPUT)
    content = {"network": settings, "input": network_input, "libraries": library_versions(), **provenance}
    metadata = json.dumps(content, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, {METADATA: metadata})


def import_weights(name: str, settings: dict, source: str, output: str) -> None:
    """Import existing weights as those of a model of this study.

    Args:
        name: of the model (teacher, student), for the summary.
        settings: of its network.
        source: safetensors, or a state dictionary (``.pt``, ``.pth``) with the network's own
            parameter names; a pretrained network (ONNX) names its model itself.
        output: path of the weights file.

    Raises:
        ValueError: the weights do not belong to this network.
    """
    network = create(settings)
    if not network.pretrained:
        if source.endswith(".safetensors"):
            state = load_file(source)
        else:
            state = torch.load(source, weights_only=True, map_location="cpu")
        try:
            network.load_state_dict(state)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"{source} does not contain the weights of {settings}: {error}") from error
    save(output, network, settings, {"imported_sha256": file_digest(source)})
    summary(f"{name}: weights imported from {Path(source).name}")


def read_metadata(path: str | Path) -> dict:
    """The metadata of a weights file.

    Raises:
        ValueError: the file was not written by :func:`save`.
    """
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata() or {}
    if METADATA not in metadata:
        raise ValueError(f"{path} has no network in its metadata: it was not written by this workflow")
    return json.loads(metadata[METADATA])


def load(path: str | Path) -> tuple[Network, dict]:
    """The network of a weights file, in evaluation mode, and the file's metadata.

    Raises:
        ValueError: the file was not written by :func:`save`.
    """
    metadata = read_metadata(path)
    network = create(metadata["network"])
    with safe_open(path, framework="pt") as opened:
        network.load_state_dict({name: opened.get_tensor(name) for name in list(opened.keys())})
    return network.eval(), metadata


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """The pixels 0 … 255 of ``images`` normalized by :func:`normalize_pixels`."""
    return images * PIXEL_SCALE + PIXEL_MEAN


def normalize_pixels(images: torch.Tensor) -> torch.Tensor:
    """uint8 images [B, 3, H, W] to the networks' float32 input, (pixel − 127.5) / 128."""
    return (images.float() - PIXEL_MEAN) / PIXEL_SCALE
