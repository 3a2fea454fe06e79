"""Networks, one file each: a class derived from :class:`Network`."""

from torch import Tensor, nn


class Network(nn.Module):
    """Base class: images [B, 3, 112, 112] float32 to embeddings [B, embedding_size] float32, not normalized.

    Settings from the configuration are keyword-only arguments of ``__init__``. A
    ``pretrained`` network comes with its weights (an ONNX model) and cannot be trained.
    """

    embedding_size: int
    pretrained = False

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def cost(self) -> dict:
        """``parameters``, ``size_mib``, ``flops`` and ``flops_elementwise`` of a pretrained network."""
        raise NotImplementedError
