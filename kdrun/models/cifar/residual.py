"""Residual networks for images of 32×32 pixels, deep and wide."""

from __future__ import annotations

from torch import Tensor, nn

from kdrun.errors import InputError
from kdrun.models.cifar.layers import LeveledClassifier, convolution, convolution_unit, kaiming_initialize
from kdrun.models.taps import level_taps
from kdrun.registry import model
from kdrun.types import Count, Size

__all__ = ["CifarResNet", "WideResNet"]


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; ``sum`` is the value before the last ReLU."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = convolution_unit(before, after, stride=stride)
        self.second = nn.Sequential(convolution(after, after), nn.BatchNorm2d(after))
        same = before == after and stride == 1
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(convolution(before, after, 1, stride), nn.BatchNorm2d(after))
        )
        self.sum = nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        return self.relu(self.sum(self.second(self.first(input)) + self.shortcut(input)))


@model(name="cifar_resnet")
class CifarResNet(LeveledClassifier):
    """ResNet of depth 6n+2 (He et al., 2016, section 4.2) with convolutional shortcuts; ``widen=4`` is "x4".

    Level widths are 16, 32 and 64 channels times ``widen``; in the "x4" networks the stem is 32 channels wide. Reads
    images [batch, in_channels, 32, 32] (any size does) and gives logits [batch, num_classes]. Taps: ``map_1`` to
    ``map_3`` (the levels, each half the size of the one before), ``map`` (the last), ``map_1_pre`` … (before their last
    ReLU), ``feature``, ``head``. Raises ``InputError`` for another depth.

    >>> network = models.cifar_resnet(depth=8, num_classes=10, in_channels=3)
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, *, depth: Count = 20, widen: Count = 1, num_classes: Size = "auto", in_channels: Size = "auto"
    ) -> None:
        if (depth - 2) % 6:
            raise InputError(f"the depth of a CIFAR ResNet is 6n+2, got {depth}")
        widths = [16 * widen, 32 * widen, 64 * widen]
        super().__init__(widths[-1], int(num_classes))
        stem = 16 if widen == 1 else 32
        blocks = (depth - 2) // 6
        self.stem = convolution_unit(int(in_channels), stem)
        self.levels = nn.Sequential()
        for i, width in enumerate(widths):
            before = stem if i == 0 else widths[i - 1]
            first = _BasicBlock(before, width, 1 if i == 0 else 2)
            self.levels.append(nn.Sequential(first, *[_BasicBlock(width, width, 1) for _ in range(blocks - 1)]))
        kaiming_initialize(self)
        self.tap_points = level_taps(
            [f"levels.{i}" for i in range(3)], [f"levels.{i}.{blocks - 1}.sum" for i in range(3)]
        )

    def maps(self, image: Tensor) -> Tensor:
        return self.levels(self.stem(image))


class _PreActivationBlock(nn.Module):
    """Norm and ReLU before each convolution (Zagoruyko & Komodakis, 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first_norm, self.first_relu = nn.BatchNorm2d(before), nn.ReLU()
        self.first = convolution(before, after, stride=stride)
        self.second = nn.Sequential(nn.BatchNorm2d(after), nn.ReLU(), convolution(after, after))
        self.shortcut = None if before == after else convolution(before, after, 1, stride)

    def forward(self, input: Tensor) -> Tensor:
        active = self.first_relu(self.first_norm(input))
        kept = input if self.shortcut is None else self.shortcut(active)
        return self.second(self.first(active)) + kept


@model(name="wide_resnet")
class WideResNet(LeveledClassifier):
    """Wide residual network WRN-depth-width (Zagoruyko & Komodakis, 2016), depth 6n+4.

    Norm and ReLU stand before each convolution; level widths are 16, 32 and 64 channels times ``width``. Reads images
    [batch, in_channels, 32, 32] (any size does) and gives logits [batch, num_classes]. Taps: ``map_1`` to ``map_3``,
    ``map``, ``map_1_pre`` …, ``feature``, ``head``. Raises ``InputError`` for another depth.

    >>> models.wide_resnet(depth=10, width=1, num_classes=10, in_channels=3)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, *, depth: Count = 16, width: Count = 2, num_classes: Size = "auto", in_channels: Size = "auto"
    ) -> None:
        if (depth - 4) % 6:
            raise InputError(f"the depth of a wide ResNet is 6n+4, got {depth}")
        widths = [16, 16 * width, 32 * width, 64 * width]
        super().__init__(widths[-1], int(num_classes))
        blocks = (depth - 4) // 6
        self.stem = convolution(int(in_channels), 16)
        self.levels = nn.Sequential()
        for i in range(3):
            first = _PreActivationBlock(widths[i], widths[i + 1], 1 if i == 0 else 2)
            self.levels.append(
                nn.Sequential(first, *[_PreActivationBlock(widths[i + 1], widths[i + 1], 1) for _ in range(blocks - 1)])
            )
        self.last = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        kaiming_initialize(self)
        paths = ["levels.0", "levels.1", "last"]
        self.tap_points = level_taps(paths, ["levels.0", "levels.1", "last.0"])

    def maps(self, image: Tensor) -> Tensor:
        return self.last(self.levels(self.stem(image)))
