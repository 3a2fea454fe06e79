"""The fast PReLU: the bits of PyTorch's in training, and PyTorch's own everywhere else."""

import io

import onnx
import pytest
import torch
from torch import nn

from triplet_distillation.networks import prelu, weights
from triplet_distillation.networks.prelu import PReLU

SHAPES = [(6, 32, 28, 28), (40, 32, 28, 28), (3, 40, 7, 9), (5, 12), (2, 8, 3), (1, 1, 1, 1), (0, 4, 3, 3)]
"""The second takes several blocks; the last is empty."""


def results(layer, x, gradient):
    """Output, and gradients of input and slope."""
    x = x.clone().requires_grad_()
    output = layer(x)
    output.backward(gradient)
    return output, x.grad, layer.weight.grad


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("one_slope", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_output_and_gradients_have_pytorchs_bits(shape, one_slope, channels_last):
    random = torch.Generator().manual_seed(3)
    slopes = 1 if one_slope else shape[1]
    ours, pytorchs = PReLU(slopes), nn.PReLU(slopes)
    ours.weight.data = pytorchs.weight.data = torch.randn(slopes, generator=random)
    x, gradient = (torch.randn(shape, generator=random) for _ in range(2))
    x[torch.rand(shape, generator=random) < 0.1] = 0
    if channels_last and len(shape) == 4:
        x, gradient = (each.contiguous(memory_format=torch.channels_last) for each in (x, gradient))
    for found, expected in zip(results(ours, x, gradient), results(pytorchs, x, gradient)):
        assert torch.equal(found, expected)
        assert found.stride() == expected.stride()


def test_gradients_by_finite_differences():
    random = torch.Generator().manual_seed(0)
    layer = PReLU(4).double()
    x = torch.randn(3, 4, 2, 2, generator=random, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: prelu._PReLUFunction.apply(x, weight), (x, layer.weight))


def test_infinite_gradient_does_not_become_finite():
    x = torch.ones(1, 2, requires_grad=True)
    PReLU(2)(x).backward(torch.tensor([[torch.inf, 1.0]]))
    assert not torch.isfinite(x.grad[0, 0])


def test_state_dict_is_that_of_pytorchs():
    nn.PReLU(3).load_state_dict(PReLU(3).state_dict())


@pytest.mark.parametrize("mode", ["inference", "no_grad", "bf16"])
def test_pytorchs_own_is_used_outside_eager_fp32_training(mode, monkeypatch):
    monkeypatch.setattr(prelu._PReLUFunction, "apply", lambda *_: pytest.fail("the fast function was used"))
    layer, x = PReLU(2), torch.randn(1, 2, 3, 3)
    if mode == "inference":
        layer.eval()(x)
    elif mode == "no_grad":
        with torch.no_grad():
            layer(x)
    else:
        with torch.autocast("cpu", torch.bfloat16):
            layer(x.bfloat16())


def test_exported_network_has_prelu_nodes():
    network = weights.create({"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 8}).eval()
    buffer = io.BytesIO()
    program = torch.onnx.export(network, (torch.zeros(1, 3, 112, 112),), dynamo=True, verbose=False)
    program.save(buffer)
    nodes = onnx.load_from_string(buffer.getvalue()).graph.node
    assert sum(node.op_type == "PRelu" for node in nodes) == sum(isinstance(m, PReLU) for m in network.modules())
