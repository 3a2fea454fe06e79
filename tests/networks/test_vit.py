"""The vision transformer: its size and cost by hand, its gradients, its ONNX model, the same bits on every CPU."""

import os
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from triplet_distillation.deployment.export import write_onnx
from triplet_distillation.networks import weights
from triplet_distillation.networks.profile import count_operations

SMALL = {"architecture": "vit", "width": 24, "depth": 2, "heads": 3, "mlp_ratio": 2.0, "embedding_size": 16}
DEFAULTS = {"patch_size": 14, "width": 128, "depth": 8, "mlp_ratio": 4.0, "embedding_size": 128}


def sizes(settings):
    """Patches, values per patch, width, hidden units, depth, embedding size."""
    found = DEFAULTS | settings
    patch, width, depth, mlp_ratio, embedding_size = (found[key] for key in DEFAULTS)
    return (112 // patch) ** 2, 3 * patch**2, width, int(mlp_ratio * width), depth, embedding_size


def randomized(settings):
    """A network in evaluation mode whose BN has seen a batch, so that nothing in it is the identity."""
    torch.manual_seed(0)
    network = weights.create(settings)
    with torch.no_grad():
        network(torch.randn(8, 3, 112, 112))
    return network.eval()


VARIANTS = [{"architecture": "vit"}, SMALL, SMALL | {"patch_size": 16}]


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_parameters_by_hand(settings):
    tokens, pixels, width, hidden, depth, embedding_size = sizes(settings)
    attention = width * 3 * width + 3 * width + width * width + width
    perceptron = 2 * width * hidden + hidden + width
    stem = pixels * width + width + tokens * width
    head = 2 * width + width * embedding_size + 2 * embedding_size
    expected = stem + depth * (attention + perceptron + 4 * width) + head
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in weights.create(settings).parameters()) == expected
    if settings == VARIANTS[0]:
        assert 1e6 < expected < 3e6


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_operations_by_hand(settings):
    """Two FLOPs per multiply-add, those of the attention's two products included."""
    tokens, pixels, width, hidden, depth, embedding_size = sizes(settings)
    block = tokens * 4 * width * width + 2 * tokens * tokens * width + tokens * 2 * width * hidden
    macs = tokens * pixels * width + depth * block + width * embedding_size
    assert count_operations(weights.create(settings).eval())[0] == 2 * macs


def test_embeddings_have_the_requested_size_in_any_memory_format():
    network, images = randomized(SMALL), torch.randn(3, 3, 112, 112)
    embeddings = network(images)
    assert embeddings.shape == (3, 16)
    channels_last = network(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, embeddings, rtol=1e-4, atol=1e-5)


def test_attention_matches_its_formula_head_by_head():
    attention = randomized(SMALL).blocks[0].attention[1].double()
    x = torch.randn(1, 5, 24, dtype=torch.float64)
    found = attention(x).detach().numpy()[0]
    tokens = x.numpy()[0]
    matrix, bias = (parameter.detach().numpy() for parameter in (attention.to_qkv.weight, attention.to_qkv.bias))
    queries, keys, values = np.split(tokens @ matrix.T + bias, 3, axis=1)
    heads = []
    for head in range(3):
        own = slice(8 * head, 8 * head + 8)
        scores = np.exp(queries[:, own] @ keys[:, own].T / np.sqrt(8))
        heads.append(scores / scores.sum(axis=1, keepdims=True) @ values[:, own])
    matrix, bias = (parameter.detach().numpy() for parameter in (attention.output.weight, attention.output.bias))
    np.testing.assert_allclose(found, np.hstack(heads) @ matrix.T + bias, rtol=1e-9, atol=1e-12)


def test_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    network = weights.create(SMALL)
    network(torch.randn(4, 3, 112, 112)).square().mul(torch.randn(4, 16)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_dropout_acts_in_training_only():
    network, images = weights.create(SMALL | {"dropout": 0.5}), torch.randn(2, 3, 112, 112)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_exported_network_agrees_at_every_batch_size(tmp_path):
    network = randomized(SMALL)
    write_onnx(network, {}, 18, tmp_path / "vit.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "vit.onnx")
    for size in (1, 5):
        images = torch.randn(size, 3, 112, 112)
        (found,) = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), network(images).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"patch_size": 15}, "must divide 112: choose 7, 8, 14 or 16"), ({"heads": 5}, "width 24 is not a multiple of")],
)
def test_sizes_that_do_not_fit_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        weights.create(SMALL | settings)


BITS = """
import hashlib, torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from triplet_distillation.networks.vit import ViT

class Products(TorchDispatchMode):  # MKL's own matrix products differ; a process with portable kernels fixes those
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if name in ("mm", "bmm"):
            return (args[0].unsqueeze(-1) * args[1].unsqueeze(-3)).sum(-2)
        if name == "addmm":
            return args[0] + (args[1].unsqueeze(-1) * args[2]).sum(-2)
        return operation(*args, **(kwargs or {}))

def digest():
    torch.manual_seed(0)
    network = ViT(width=16, depth=2, heads=2, embedding_size=8)
    found = [parameter.detach().clone() for parameter in network.parameters()]
    with Products():
        embeddings = network(torch.randn(4, 3, 112, 112))
        embeddings.square().mul(torch.randn(4, 8)).sum().backward()
    found += [embeddings.detach()] + [parameter.grad for parameter in network.parameters()]
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in found)).hexdigest()

ours = digest()
functional.gelu = lambda x, approximate: x * 0.5 * (1 + torch.erf(x / 2**0.5))
print(ours, digest())
"""


def bits(mode):
    """Digests of the network as it is, and with the exact GELU."""
    environment = os.environ | {"MKL_CBWR": mode}
    result = subprocess.run([sys.executable, "-c", BITS], env=environment, capture_output=True, text=True, check=True)
    return result.stdout.split()


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="PyTorch without MKL")
def test_weights_embeddings_and_gradients_do_not_depend_on_mkl():
    (ours, exact), (ours_on_another, exact_on_another) = bits("COMPATIBLE"), bits("AVX2")
    assert ours == ours_on_another
    if exact == exact_on_another:
        pytest.skip("MKL rounds alike in both modes on this CPU, so that this proves nothing")
