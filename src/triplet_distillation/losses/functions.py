"""Functions for which PyTorch calls MKL's vector library on CPUs, which rounds differently on different CPUs.

Here they consist of operations that IEEE 754 defines exactly, and of PyTorch's own kernels.
"""

import torch


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
