"""ShuffleNets for images of 32×32 pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.models.cifar.layers import LeveledClassifier, convolution, convolution_unit, kaiming_initialize
from kdrun.models.taps import level_taps
from kdrun.registry import model
from kdrun.types import Count, Fraction, Size

__all__ = ["ShuffleNetV1", "ShuffleNetV2"]


def _shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleave the channels of ``groups`` groups."""
    batch, channels, height, width = input.shape
    return (
        input.view(batch, groups, channels // groups, height, width)
        .transpose(1, 2)
        .reshape(batch, channels, height, width)
    )


class _ShuffleUnitV1(nn.Module):
    """Grouped 1×1 convolutions around a channel shuffle and a 3×3 filter by channel (Zhang et al., 2018)."""

    def __init__(self, before: int, after: int, stride: int, groups: int) -> None:
        super().__init__()
        self.stride = stride
        own = after - before if stride == 2 else after
        middle = own // 4
        self.groups = 1 if before == 24 else groups
        self.reduce = convolution_unit(before, middle, 1, groups=self.groups)
        self.filter = nn.Sequential(convolution(middle, middle, 3, stride, groups=middle), nn.BatchNorm2d(middle))
        self.expand = nn.Sequential(convolution(middle, own, 1, groups=groups), nn.BatchNorm2d(own))
        self.sum = nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        inner = self.expand(self.filter(_shuffle(self.reduce(input), self.groups)))
        if self.stride == 2:
            return self.relu(self.sum(torch.cat([inner, F.avg_pool2d(input, 3, 2, 1)], dim=1)))
        return self.relu(self.sum(inner + input))


@model(name="shufflenet_v1")
class ShuffleNetV1(LeveledClassifier):
    """ShuffleNet (Zhang et al., 2018), as the CIFAR literature trims it: no stem stride.

    ``groups`` are those of the 1×1 convolutions; level widths are 80, 160 and 320 channels times ``groups``. Reads
    images [batch, in_channels, 32, 32] (any size does) and gives logits [batch, num_classes]. Taps: ``map_1`` to
    ``map_3``, ``map``, ``map_1_pre`` …, ``feature``, ``head``.

    >>> models.shufflenet_v1(num_classes=10, in_channels=3)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, *, groups: Count = 3, num_classes: Size = "auto", in_channels: Size = "auto") -> None:
        widths = [80 * groups, 160 * groups, 320 * groups]
        super().__init__(widths[-1], int(num_classes))
        self.stem = convolution_unit(int(in_channels), 24, 1)
        self.levels = nn.Sequential()
        before = 24
        for width, count in zip(widths, (4, 8, 4), strict=True):
            units = [
                _ShuffleUnitV1(before if i == 0 else width, width, 2 if i == 0 else 1, groups) for i in range(count)
            ]
            self.levels.append(nn.Sequential(*units))
            before = width
        kaiming_initialize(self)
        last = (3, 7, 3)
        self.tap_points = level_taps(
            [f"levels.{i}" for i in range(3)], [f"levels.{i}.{n}.sum" for i, n in enumerate(last)]
        )

    def maps(self, image: Tensor) -> Tensor:
        return self.levels(self.stem(image))


class _ShuffleUnitV2(nn.Module):
    """Split channels, filter one half, join and shuffle (Ma et al., 2018)."""

    def __init__(self, channels: int, share: float) -> None:
        super().__init__()
        self.cut = int(channels * share)
        inner = channels - self.cut
        self.branch = nn.Sequential(
            convolution_unit(inner, inner, 1),
            convolution(inner, inner, 3, groups=inner),
            nn.BatchNorm2d(inner),
            convolution_unit(inner, inner, 1),
        )

    def forward(self, input: Tensor) -> Tensor:
        kept, worked = input[:, : self.cut], input[:, self.cut :]
        return _shuffle(torch.cat([kept, self.branch(worked)], dim=1), 2)


class _ShuffleDownV2(nn.Module):
    """Halve the map on two branches, join and shuffle."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        half = after // 2
        self.left = nn.Sequential(
            convolution(before, before, 3, 2, groups=before), nn.BatchNorm2d(before), convolution_unit(before, half, 1)
        )
        self.right = nn.Sequential(
            convolution_unit(before, half, 1),
            convolution(half, half, 3, 2, groups=half),
            nn.BatchNorm2d(half),
            convolution_unit(half, half, 1),
        )

    def forward(self, input: Tensor) -> Tensor:
        return _shuffle(torch.cat([self.left(input), self.right(input)], dim=1), 2)


SHUFFLE_WIDTHS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (224, 488, 976, 2048),
}


@model(name="shufflenet_v2")
class ShuffleNetV2(LeveledClassifier):
    """ShuffleNetV2 (Ma et al., 2018), as the CIFAR literature trims it: a 1×1 stem without stride.

    ``width`` is one of 0.5, 1.0, 1.5 and 2.0, ``share`` the part of the channels that a unit leaves alone. Reads images
    [batch, in_channels, 32, 32] (any size does) and gives logits [batch, num_classes]. Taps: ``map_1`` to ``map_3``,
    ``map``, ``feature``, ``head``. Raises ``InputError`` for another width.

    >>> models.shufflenet_v2(width=0.5, num_classes=10, in_channels=3)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, *, width: float = 1.0, share: Fraction = 0.5, num_classes: Size = "auto", in_channels: Size = "auto"
    ) -> None:
        if width not in SHUFFLE_WIDTHS:
            raise InputError(
                f"the width of a ShuffleNetV2 is one of {', '.join(map(str, SHUFFLE_WIDTHS))}, got {width}"
            )
        *widths, last = SHUFFLE_WIDTHS[width]
        super().__init__(last, int(num_classes))
        self.stem = convolution_unit(int(in_channels), 24, 1)
        self.levels = nn.Sequential()
        before = 24
        for channels, count in zip(widths, (3, 7, 3), strict=True):
            self.levels.append(
                nn.Sequential(
                    _ShuffleDownV2(before, channels), *[_ShuffleUnitV2(channels, share) for _ in range(count)]
                )
            )
            before = channels
        self.last = convolution_unit(before, last, 1)
        kaiming_initialize(self)
        self.tap_points = level_taps([f"levels.{i}" for i in range(3)])

    def maps(self, image: Tensor) -> Tensor:
        return self.last(self.levels(self.stem(image)))
