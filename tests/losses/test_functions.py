"""Square root and arc cosine from kernels that round alike on every CPU."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from triplet_distillation.losses.functions import arc_cosine, square_root


def test_square_root_is_correctly_rounded():
    """IEEE 754 requires it of NumPy's square root."""
    random = np.random.default_rng(0)
    x = np.concatenate([random.random(100_000), random.random(100_000) * 1e-9, [1e-12, 1, 4]]).astype(np.float32)
    assert np.array_equal(square_root(torch.from_numpy(x)).numpy(), np.sqrt(x))


def test_arc_cosine_is_accurate_to_the_end_of_its_range():
    x = torch.cat([torch.linspace(-1, 1, 10_001)[1:-1], torch.tensor([1 - 1e-7, -1 + 1e-7])])
    torch.testing.assert_close(
        arc_cosine(x), torch.from_numpy(np.arccos(x.double().numpy())).float(), rtol=2e-7, atol=0
    )


def test_gradients():
    x = torch.tensor([0.04, 0.25, 0.81], requires_grad=True)
    square_root(x).sum().backward()
    torch.testing.assert_close(x.grad, 0.5 / x.detach().sqrt())
    c = torch.tensor([-0.9, 0.0, 0.6], requires_grad=True)
    arc_cosine(c).sum().backward()
    torch.testing.assert_close(c.grad, -1 / (1 - c.detach().square()).sqrt())


BITS = """
import hashlib, sys, torch
from triplet_distillation.losses.functions import arc_cosine, square_root
functions = {"ours": (square_root, arc_cosine), "pytorchs": (torch.sqrt, torch.arccos)}[sys.argv[1]]
found = []
for function in functions:
    x = torch.rand(100_000, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6).requires_grad_()
    values = function(x)
    values.sum().backward()
    found += [values.detach().numpy().tobytes(), x.grad.numpy().tobytes()]
print(hashlib.sha256(b"".join(found)).hexdigest())
"""


def bits(whose, mode):
    environment = os.environ | {"MKL_CBWR": mode}
    command = [sys.executable, "-c", BITS, whose]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="PyTorch without MKL")
def test_values_and_gradients_do_not_depend_on_mkl():
    assert bits("ours", "COMPATIBLE") == bits("ours", "AVX2")
    if bits("pytorchs", "COMPATIBLE") == bits("pytorchs", "AVX2"):
        pytest.skip("MKL rounds alike in both modes on this CPU, so that this proves nothing")
