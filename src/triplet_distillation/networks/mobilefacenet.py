"""MobileFaceNet (Chen et al. 2018, arXiv 1804.07573) and, by its channel numbers, the paper's slim student."""

import torch
from torch import nn

BOTTLENECKS = ((2, 5, 2), (4, 1, 2), (2, 6, 1), (4, 1, 2), (2, 2, 1))
"""(expansion t, repetitions n, stride s of the first) of the five stages of bottlenecks."""


def convolution(channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, padding: int = 0):
    """Convolution and BN, without an activation."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(channels)
    )


class Bottleneck(nn.Module):
    """Inverted residual: 1×1 expansion, depthwise 3×3, linear 1×1; a shortcut where the shape stays."""

    def __init__(self, channels_in: int, channels: int, expansion: int, stride: int):
        super().__init__()
        hidden = channels_in * expansion
        self.layers = nn.Sequential(
            convolution(channels_in, hidden, 1),
            nn.PReLU(hidden),
            convolution(hidden, hidden, 3, stride, groups=hidden, padding=1),
            nn.PReLU(hidden),
            convolution(hidden, channels, 1),
        )
        self.has_shortcut = stride == 1 and channels_in == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.has_shortcut else self.layers(x)


class Network(nn.Module):
    """MobileFaceNet with any channel numbers.

    Args:
        stem: channels of the first convolution and the depthwise one after it.
        stages: channels of the five stages of bottlenecks.
        last: channels of the last 1×1 convolution and the global depthwise one.
        width: factor on all of them ("width multiplier").
        embedding_size: length of the embedding.

    The defaults are the published network; the paper's student, "three quarters of the
    channels on average" (§3.1), is given by its channel numbers in the configuration.

    Raises:
        ValueError: ``stages`` has not five numbers.
    """

    def __init__(
        self,
        *,
        stem: int = 64,
        stages: list = (64, 128, 128, 128, 128),
        last: int = 512,
        width: float = 1.0,
        embedding_size: int = 128,
    ):
        super().__init__()
        if len(stages) != len(BOTTLENECKS):
            raise ValueError(f"MobileFaceNet has {len(BOTTLENECKS)} stages, the configuration gives {len(stages)}")
        self.embedding_size = embedding_size
        stem, last, *stages = (max(8, round(width * channels)) for channels in (stem, last, *stages))
        layers = [
            convolution(3, stem, 3, stride=2, padding=1),
            nn.PReLU(stem),
            convolution(stem, stem, 3, groups=stem, padding=1),
            nn.PReLU(stem),
        ]
        channels_in = stem
        for channels, (expansion, repetitions, stride) in zip(stages, BOTTLENECKS, strict=True):
            for repetition in range(repetitions):
                layers.append(Bottleneck(channels_in, channels, expansion, stride if repetition == 0 else 1))
                channels_in = channels
        layers += [
            convolution(channels_in, last, 1),
            nn.PReLU(last),
            convolution(last, last, 7, groups=last),
            convolution(last, embedding_size, 1),
            nn.Flatten(),
        ]
        self.layers = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)
