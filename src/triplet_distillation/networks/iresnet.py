"""IResNet, ArcFace's improved residual network ("LResNet-E-IR", Deng et al. 2019, arXiv 1801.07698)."""

import torch
from torch import nn

from triplet_distillation.networks import Network
from triplet_distillation.networks.prelu import PReLU

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
"""Depth to the number of residual blocks in each of the four stages."""


class IBasicBlock(nn.Module):
    """Residual block BN-conv-BN-PReLU-conv-BN with the stride in the second convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.residual(x) + self.shortcut(x)


class IResNet(Network):
    """IResNet of depth 18, 34, 50 or 100.

    Args:
        depth: 18, 34, 50 or 100; the paper's teacher has 100.
        width: factor on every number of channels (1.0 is the published network), so that
            a teacher can be small enough for two cores.
        embedding_size: length of the embedding (512 in the published network).
        dropout: fraction of the last feature map that is dropped in training.

    Raises:
        ValueError: unknown depth.
    """

    def __init__(self, *, depth: int = 100, width: float = 1.0, embedding_size: int = 512, dropout: float = 0.4):
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"IResNet does not have a depth of {depth}: choose one of {', '.join(map(str, BLOCKS))}")
        self.embedding_size = embedding_size
        stem, *stages = (max(8, round(width * channels)) for channels in (64, 64, 128, 256, 512))
        layers: list[nn.Module] = [nn.Conv2d(3, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), PReLU(stem)]
        in_channels = stem
        for out_channels, blocks in zip(stages, BLOCKS[depth], strict=True):
            for block in range(blocks):
                layers.append(IBasicBlock(in_channels, out_channels, stride=2 if block == 0 else 1))
                in_channels = out_channels
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(in_channels * 7 * 7, embedding_size),
            nn.BatchNorm1d(embedding_size),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))
