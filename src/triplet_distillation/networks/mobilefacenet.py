"""MobileFaceNet (Chen et al. 2018, arXiv 1804.07573); with fewer channels, also the paper's slim student."""

from collections.abc import Sequence

import torch
from torch import nn

from triplet_distillation.networks import Network
from triplet_distillation.networks.prelu import PReLU

BOTTLENECKS = ((2, 5, 2), (4, 1, 2), (2, 6, 1), (4, 1, 2), (2, 2, 1))
"""(expansion t, repetitions n, stride s of the first) of the five stages of bottlenecks."""


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, padding: int = 0
) -> nn.Sequential:
    """Convolution and BN, without an activation."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class Bottleneck(nn.Module):
    """Inverted residual: 1×1 expansion, depthwise 3×3, linear 1×1; a shortcut if the shape stays the same."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int):
        super().__init__()
        hidden = in_channels * expansion
        self.layers = nn.Sequential(
            conv_bn(in_channels, hidden, 1),
            PReLU(hidden),
            conv_bn(hidden, hidden, 3, stride, groups=hidden, padding=1),
            PReLU(hidden),
            conv_bn(hidden, out_channels, 1),
        )
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.has_shortcut else self.layers(x)


class MobileFaceNet(Network):
    """MobileFaceNet with any number of channels.

    Args:
        stem: channels of the first convolution and the depthwise one after it.
        stages: channels of the five stages of bottlenecks.
        last_channels: channels of the last 1×1 convolution and the global depthwise one.
        width: factor on all of them ("width multiplier").
        embedding_size: length of the embedding.

    The defaults are the published network. The paper's student, "three quarters of the
    channels on average" (§3.1), is defined by its numbers of channels in the configuration.

    Raises:
        ValueError: ``stages`` does not have five numbers.
    """

    def __init__(
        self,
        *,
        stem: int = 64,
        stages: Sequence[int] = (64, 128, 128, 128, 128),
        last_channels: int = 512,
        width: float = 1.0,
        embedding_size: int = 128,
    ):
        super().__init__()
        if len(stages) != len(BOTTLENECKS):
            raise ValueError(f"MobileFaceNet has {len(BOTTLENECKS)} stages, but the configuration has {len(stages)}")
        self.embedding_size = embedding_size
        stem, last_channels, *stages = (max(8, round(width * channels)) for channels in (stem, last_channels, *stages))
        layers: list[nn.Module] = [
            conv_bn(3, stem, 3, stride=2, padding=1),
            PReLU(stem),
            conv_bn(stem, stem, 3, groups=stem, padding=1),
            PReLU(stem),
        ]
        in_channels = stem
        for out_channels, (expansion, repetitions, stride) in zip(stages, BOTTLENECKS, strict=True):
            for repetition in range(repetitions):
                layers.append(Bottleneck(in_channels, out_channels, expansion, stride if repetition == 0 else 1))
                in_channels = out_channels
        layers += [
            conv_bn(in_channels, last_channels, 1),
            PReLU(last_channels),
            conv_bn(last_channels, last_channels, 7, groups=last_channels),
            conv_bn(last_channels, embedding_size, 1),
            nn.Flatten(),
        ]
        self.layers = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)
