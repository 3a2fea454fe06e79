"""IResNet, ArcFace's improved residual network ("LResNet-E-IR", Deng et al. 2019, arXiv 1801.07698)."""

import torch
from torch import nn

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
"""Depth to the number of residual units in each of the four stages."""


class Unit(nn.Module):
    """Residual unit BN-conv-BN-PReLU-conv-BN; the stride sits in the second convolution."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.residual(x) + self.shortcut(x)


class Network(nn.Module):
    """IResNet of depth 18, 34, 50 or 100.

    Args:
        depth: 18, 34, 50 or 100; the paper's teacher is 100.
        width: factor on every channel number (1.0 is the published network), so that
            a teacher can be small enough for two cores.
        embedding_size: length of the embedding (512 published).
        dropout: share of the last feature map's values that are dropped in training.

    Raises:
        ValueError: an unknown depth.
    """

    def __init__(self, *, depth: int = 100, width: float = 1.0, embedding_size: int = 512, dropout: float = 0.4):
        super().__init__()
        if depth not in UNITS:
            raise ValueError(f"IResNet has no depth {depth}: choose one of {', '.join(map(str, UNITS))}")
        self.embedding_size = embedding_size
        stem, *stages = (max(8, round(width * channels)) for channels in (64, 64, 128, 256, 512))
        layers = [nn.Conv2d(3, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.PReLU(stem)]
        channels_in = stem
        for channels, units in zip(stages, UNITS[depth], strict=True):
            for unit in range(units):
                layers.append(Unit(channels_in, channels, stride=2 if unit == 0 else 1))
                channels_in = channels
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(channels_in * 7 * 7, embedding_size),
            nn.BatchNorm1d(embedding_size),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))
