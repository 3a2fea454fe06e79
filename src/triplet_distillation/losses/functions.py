"""Functions for which PyTorch calls MKL's vector library on CPUs, which rounds differently on different CPUs.

Here they consist of operations that IEEE 754 defines exactly, and of PyTorch's own kernels. Also affected are ``exp``,
``log``, ``cos``, ``erf`` and ``logsumexp``; not affected are ``sin``, ``sigmoid``, ``tanh``, ``softmax`` and
``log_softmax``.
"""

import math

import torch
from torch.nn import functional


def square_root(x: torch.Tensor) -> torch.Tensor:
    """√x for x > 0, correctly rounded if x is float32; the type stays.

    The root of a float32 number is never so close to the middle between two others that an error
    in the last places of its double-precision root could change the rounding.
    """
    square = x.double()
    return (square * square.rsqrt()).to(x.dtype)


def arc_cosine(x: torch.Tensor) -> torch.Tensor:
    """arccos x for |x| < 1, from functions that are not in MKL; the type stays."""
    cosine = x.double()
    square = 1 - cosine.square()
    return torch.atan2(square * square.rsqrt(), cosine).to(x.dtype)


def cosine_of(angle: torch.Tensor) -> torch.Tensor:
    """cos of an angle in radians; the type stays."""
    return (angle.double() + math.pi / 2).sin().to(angle.dtype)


def log_sum_exp(x: torch.Tensor) -> torch.Tensor:
    """log Σ e^x over the last dimension; terms of −∞ count nothing, as long as there is another."""
    largest = x.detach().argmax(dim=-1, keepdim=True)
    return (x.gather(-1, largest) - functional.log_softmax(x, dim=-1).gather(-1, largest)).squeeze(-1)
