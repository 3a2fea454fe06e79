"""Vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), small, for faces of 112×112 pixels."""

import torch
from torch import nn
from torch.nn import functional

from triplet_distillation.networks import Network

IMAGE_SIZE = 112
"""Height and width of a face."""
SPREAD = 0.02
"""Standard deviation of the initial weights, which are cut off at two of them."""


class Attention(nn.Module):
    """Self-attention: softmax(q kᵀ / √d) v for each of ``heads``, written out.

    PyTorch's fused kernel rounds differently on different CPUs.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.to_qkv(x).unflatten(2, (3, self.heads, self.size)).permute(2, 0, 3, 1, 4)
        queries, keys, values = qkv[0], qkv[1], qkv[2]
        weights = (queries * self.size**-0.5 @ keys.transpose(2, 3)).softmax(dim=3)
        return self.output((weights @ values).transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Two linear layers with GELU in between, approximated by tanh: erf rounds differently on different CPUs."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.expand, self.reduce = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.reduce(functional.gelu(self.expand(x), approximate="tanh"))


class EncoderBlock(nn.Module):
    """x + attention(LN(x)), then x + perceptron(LN(x)); both are subject to dropout in training."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads), nn.Dropout(dropout))
        self.perceptron = nn.Sequential(nn.LayerNorm(width), Perceptron(width, hidden), nn.Dropout(dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(x)
        return x + self.perceptron(x)


class ViT(Network):
    """Patches → linear + learned positions → encoder blocks → LN → mean over patches → linear → BN.

    Args:
        patch_size: height and width of a patch; 14 makes 8×8 patches.
        width: length of a patch's vector between the blocks.
        depth: number of blocks.
        heads: of the attention; a divisor of ``width``.
        mlp_ratio: hidden units of a block's perceptron, in multiples of ``width``.
        embedding_size: length of the embedding.
        dropout: fraction that is dropped in training after the positions, in each block, and before the last layer.

    The mean over patches replaces the class token of the publication, and the head with BN is that of face
    recognition networks. The defaults, ours, have 1.7 M parameters.

    Raises:
        ValueError: ``patch_size`` does not divide 112, or ``heads`` does not divide ``width``.
    """

    def __init__(
        self,
        *,
        patch_size: int = 14,
        width: int = 128,
        depth: int = 8,
        heads: int = 4,
        mlp_ratio: float = 4.0,
        embedding_size: int = 128,
        dropout: float = 0.0,
    ):
        super().__init__()
        if IMAGE_SIZE % patch_size:
            raise ValueError(f"vit: patch_size is {patch_size}, but must divide {IMAGE_SIZE}: choose 7, 8, 14 or 16")
        if width % heads:
            raise ValueError(f"vit: width {width} is not a multiple of heads {heads}: change one of them")
        self.embedding_size = embedding_size
        self.patches = nn.Conv2d(3, width, patch_size, stride=patch_size)
        self.positions = nn.Parameter(torch.empty((IMAGE_SIZE // patch_size) ** 2, width))
        self.dropout = nn.Dropout(dropout)
        hidden = round(mlp_ratio * width)
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, hidden, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width, embedding_size, bias=False), nn.BatchNorm1d(embedding_size)
        )
        _initialize(self.positions)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                _initialize(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = self.blocks(self.dropout(tokens + self.positions))
        return self.head(self.norm(tokens).mean(dim=1))


def _initialize(weight: torch.Tensor) -> None:
    nn.init.trunc_normal_(weight, std=SPREAD, a=-2 * SPREAD, b=2 * SPREAD)
