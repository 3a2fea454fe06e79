"""PReLU with a faster backward pass on CPUs.

PyTorch's CPU kernel for the gradients of PReLU does not vectorize if the slope is
broadcast over a channels-last tensor, and takes almost half of a training step of
MobileFaceNet. The same gradients from kernels that do vectorize have the same bits.
"""

import torch
from torch import nn
from torch.nn import functional


class _PReLUFunction(torch.autograd.Function):
    """PReLU whose gradients are made of vectorized kernels.

    With g the gradient of the output: g⁺ = g where x > 0, else 0; g⁻ = g − g⁺. Then the
    input's gradient is g⁺ + slope · g⁻, and the slope's is the sum of x · g⁻. An infinite
    gradient becomes NaN.
    """

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return functional.prelu(x, weight)

    @staticmethod
    def backward(ctx, *gradients):
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        positive = torch.ops.aten.threshold_backward(gradient, x, 0)
        negative = gradient - positive
        slope = weight.view(1, -1, *[1] * (x.ndim - 2)) if weight.numel() > 1 else weight
        over = [dimension for dimension in range(x.ndim) if dimension != 1 or weight.numel() == 1]
        input_gradient = torch.addcmul(positive, slope, negative)
        return input_gradient, negative.mul_(x).sum(over).view_as(weight)


class PReLU(nn.PReLU):
    """``nn.PReLU`` that trains faster on CPUs in eager mode, and is PyTorch's own everywhere else.

    Elsewhere means inference, ONNX export, ``torch.compile``, GPUs and mixed precision.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        is_eager_training = self.training and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if is_eager_training and input.device.type == "cpu" and input.dtype == self.weight.dtype and input.ndim > 1:
            return _PReLUFunction.apply(input, self.weight)
        return super().forward(input)
