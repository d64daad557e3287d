"""Small trainable maps between a student's and a teacher's features; sizes are found by the shape pass."""

from __future__ import annotations

from torch import Tensor, nn

from kdrun.registry import model
from kdrun.types import Fraction, Size

__all__ = ["EmbeddingAdapter", "conv_adapter"]


@model
def conv_adapter(
    *,
    in_channels: Size = "auto",
    out_channels: Size = "auto",
    norm: bool = True,
    relu: bool = False,
    bias: bool = False,
) -> nn.Module:
    """A 1×1 convolution, batch norm and ReLU: maps [batch, in, h, w] to [batch, out, h, w]."""
    layers: list[nn.Module] = [nn.Conv2d(int(in_channels), int(out_channels), 1, bias=bias)]
    layers += [nn.BatchNorm2d(int(out_channels))] if norm else []
    layers += [nn.ReLU()] if relu else []
    return nn.Sequential(*layers)


@model(name="embedding_adapter")
class EmbeddingAdapter(nn.Module):
    """Batch norm, dropout and a linear map (Wang et al., 2023); the identity where the sizes agree."""

    def __init__(self, *, dropout: Fraction = 0.5, in_features: Size = "auto", out_features: Size = "auto") -> None:
        super().__init__()
        same = int(in_features) == int(out_features)
        layers = [nn.BatchNorm1d(int(in_features)), nn.Dropout(dropout), nn.Linear(int(in_features), int(out_features))]
        self.layers = nn.Identity() if same else nn.Sequential(*layers)

    def forward(self, feature: Tensor) -> Tensor:
        """[batch, out_features] of [batch, in_features]."""
        return self.layers(feature)
