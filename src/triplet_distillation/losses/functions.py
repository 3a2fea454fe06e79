"""Functions that PyTorch leaves to MKL's vector library on CPUs, which rounds differently on different CPUs."""

import torch


def square_root(x: torch.Tensor) -> torch.Tensor:
    """√x, correctly rounded if x is float32; the type stays.

    The root of a float32 number is never so close to the middle between two others that an error
    in the last place of its double-precision root could change the rounding.
    """
    return x.double().sqrt().to(x.dtype)


def arc_cosine(x: torch.Tensor) -> torch.Tensor:
    """arccos x for |x| < 1, from functions that are not in MKL; the type stays."""
    cosine = x.double()
    square = 1 - cosine.square()
    return torch.atan2(square * square.rsqrt(), cosine).to(x.dtype)
