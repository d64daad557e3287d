"""Small networks for small data."""

from __future__ import annotations

from torch import Tensor, nn

from kdrun.registry import model
from kdrun.types import Count, Size

__all__ = ["ConvolutionalNetwork"]


@model(name="cnn")
class ConvolutionalNetwork(nn.Module):
    """Blocks of convolution, batch norm and ReLU, with max-pooling between while the map is above 2 pixels."""

    def __init__(self, *, channels: list[Count] = (16, 32), kernel_size: Count = 3, num_classes: Size = "auto", in_channels: Size = "auto", image_size: Size = "auto") -> None:  # type: ignore[assignment]
        super().__init__()
        layers: list[nn.Module] = []
        size, before = int(image_size), int(in_channels)
        for i, width in enumerate(channels):
            pool = nn.MaxPool2d(2) if i and size > 2 else nn.Identity()
            size = size // 2 if i and size > 2 else size
            layers.append(
                nn.Sequential(
                    pool,
                    nn.Conv2d(before, width, kernel_size, padding=kernel_size // 2, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                )
            )
            before = width
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(before, int(num_classes))
        names = {f"map_{i + 1}": f"blocks.{i}" for i in range(len(channels))}
        self.tap_points = {"feature": "head:input", "map": f"blocks.{len(channels) - 1}", "head": "head", **names}

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width]."""
        return self.head(self.pool(self.blocks(image)).flatten(1))
