"""Weights files: safetensors whose metadata suffices to rebuild the network and use it correctly."""

import contextlib
import json
import pickle
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from triplet_distillation import registry
from triplet_distillation.files import atomic_write
from triplet_distillation.logs import summary
from triplet_distillation.networks import Network
from triplet_distillation.networks.finite import check_weights
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
NESTED = ("state_dict", "model_state_dict", "model", "network", "backbone")
"""Keys below which others keep a state dictionary."""
PREFIXES = ("module.", "_orig_mod.")
"""What ``DataParallel`` and ``torch.compile`` put before every name."""
SHOWN = 3
"""How many names a message lists."""
RETRAIN = "its training has diverged: lower learning_rate and train it again"
"""What to do about a trained model that is not finite."""


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
    metadata = json.dumps(content, sort_keys=True, allow_nan=False)
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

    Nested dictionaries (``state_dict``, ``model``, …) and the prefixes of ``DataParallel`` and ``torch.compile`` are
    understood; half precision becomes float32.

    Raises:
        ValueError: the file cannot be read, or its weights do not belong to this network, or are not finite.
    """
    network = create(settings)
    origin = f"{name} ({source})"
    if network.pretrained:
        network.embedding_size  # noqa: B018  opens the model, which checks it
    else:
        state = _without_prefix(_state_in(_read_state(source), source), network.state_dict())
        _load_state(network, state, f"{name}: {source} does not contain the weights of {settings}")
        check_weights(network.state_dict(), origin, "these weights are damaged: choose others")
    save(output, network, settings, {"imported_sha256": file_digest(source)})
    summary(f"{name}: weights imported from {Path(source).name}")


def _read_state(source: str) -> Any:
    """What is in a file of weights: tensors by name, perhaps nested in dictionaries. No code in it is run."""
    if Path(source).suffix == ".safetensors":
        with _opened(source) as opened:
            return {name: opened.get_tensor(name) for name in list(opened.keys())}
    try:
        return torch.load(source, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{source} contains more than weights, perhaps a whole model (torch.save(model)), which is not read, as "
            "that would run code from the file (weights_only), or is not a file of PyTorch: write its state "
            "dictionary alone, torch.save(model.state_dict(), path)"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{source} cannot be read ({first_line(error)}): it is truncated, or not a state dictionary of PyTorch; "
            "copy it again, or write it with torch.save(model.state_dict(), path)"
        ) from error


def _state_in(content: Any, source: str) -> dict[str, torch.Tensor]:
    """The state dictionary in a file's content: itself, or below one of :data:`NESTED`."""
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{source} contains a {type(content).__name__}, not a state dictionary: write it with "
            "torch.save(model.state_dict(), path)"
        )
    if all(isinstance(each, torch.Tensor) for each in content.values()):
        return {str(name): tensor for name, tensor in content.items()}
    below = [key for key in NESTED if isinstance(content.get(key), Mapping)]
    if len(below) != 1:
        raise ValueError(
            f"{source}: which of its entries is the state dictionary is not clear: it has {_first_few(content)}, "
            f"{len(below)} of the dictionaries {', '.join(NESTED)}: write the state dictionary alone"
        )
    return _state_in(content[below[0]], source)


def _without_prefix(state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``state`` without :data:`PREFIXES` that all its names have, and none of the ``expected`` ones."""
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            if any(name.startswith(prefix) for name in expected):
                break
            return _without_prefix({name.removeprefix(prefix): each for name, each in state.items()}, expected)
    return state


def _load_state(network: Network, state: dict[str, torch.Tensor], problem: str) -> None:
    """Load ``state`` into a network.

    Raises:
        ValueError: its names, shapes or types are not the network's; the message starts with ``problem``.
    """
    if not network.pretrained and (differences := _differences(state, network.state_dict())):
        raise ValueError(f"{problem}: {differences}: correct the network's settings, or choose other weights")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{problem}: {first_line(error)}: choose other weights") from error


def _differences(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str:
    """How the names, shapes and types of two state dictionaries differ, in words; empty if they do not."""
    counters = "num_batches_tracked"  # which old files lack, and only a momentum of None reads
    found = {
        "missing": [name for name in expected if name not in state and not name.endswith(counters)],
        "unexpected": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {list(each.shape)} instead of {list(expected[name].shape)}"
            for name, each in state.items()
            if name in expected and each.shape != expected[name].shape
        ],
        "of another type": [  # quantized, for example: without their scale, they mean something else
            f"{name} {each.dtype}"
            for name, each in state.items()
            if name in expected and expected[name].is_floating_point() and not each.is_floating_point()
        ],
    }
    return "; ".join(f"{len(names)} {kind} ({_first_few(names)})" for kind, names in found.items() if names)


def _first_few(names: Iterable) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def first_line(error: Exception) -> str:
    """What an error says, without what a library adds in further lines; its type if it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def _opened(path: str | Path) -> Generator[Any]:
    """A safetensors file, opened."""
    try:
        with safe_open(path, framework="pt") as opened:
            yield opened
    except SafetensorError as error:
        raise ValueError(
            f"{path} cannot be read ({error}): it is truncated, or no safetensors; copy or write it again"
        ) from error


def read_metadata(path: str | Path) -> dict:
    """The metadata of a weights file.

    Raises:
        ValueError: the file was not written by :func:`save`.
    """
    with _opened(path) as opened:
        metadata = opened.metadata() or {}
    if METADATA not in metadata:
        raise ValueError(f"{path} has no network in its metadata: it was not written by this workflow")
    return json.loads(metadata[METADATA])


def load(path: str | Path) -> tuple[Network, dict]:
    """The network of a weights file, in evaluation mode, and the file's metadata.

    Raises:
        ValueError: the file was not written by :func:`save`, or is damaged, or its weights are not finite.
    """
    metadata = read_metadata(path)
    network = create(metadata["network"])
    with _opened(path) as opened:
        state = {name: opened.get_tensor(name) for name in list(opened.keys())}
    imported = "imported_sha256" in metadata
    check_weights(state, describe(metadata, path), "choose other weights" if imported else RETRAIN)
    _load_state(network, state, f"{path} does not contain the weights of {metadata['network']}")
    return network.eval(), metadata


def describe(metadata: dict, path: str | Path) -> str:
    """A model in messages: its name, which an exported model has in its ``metadata``, and the file."""
    return f"{metadata.get('name', 'the model')} ({path})"


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """The pixels 0 … 255 of ``images`` normalized by :func:`normalize_pixels`."""
    return images * PIXEL_SCALE + PIXEL_MEAN


def normalize_pixels(images: torch.Tensor) -> torch.Tensor:
    """uint8 images [B, 3, H, W] to the networks' float32 input, (pixel − 127.5) / 128."""
    return (images.float() - PIXEL_MEAN) / PIXEL_SCALE
