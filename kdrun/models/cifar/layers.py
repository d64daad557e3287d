"""What the CIFAR networks share: convolutions with their norms, the classifier around the levels, first weights."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["LeveledClassifier", "convolution", "convolution_unit", "kaiming_initialize"]


def convolution(before: int, after: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution from ``before`` to ``after`` channels without bias, padded so that stride 1 keeps the size."""
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)


def convolution_unit(before: int, after: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias, batch norm and ReLU."""
    return nn.Sequential(convolution(before, after, kernel, stride, groups), nn.BatchNorm2d(after), nn.ReLU())


class LeveledClassifier(nn.Module):
    """A stem, levels of blocks, global average pooling and a linear head."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, num_classes)
        self.tap_points: dict[str, str] = {}

    def maps(self, image: Tensor) -> Tensor:
        """The last map [batch, channels, height, width], which is pooled."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, 32, 32]."""
        return self.head(self.pool(self.maps(image)).flatten(1))


def kaiming_initialize(network: nn.Module) -> None:
    """He et al. (2015): normal with fan-out for convolutions, ones and zeros for norms."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
