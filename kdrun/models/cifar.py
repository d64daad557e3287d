"""The networks of the CIFAR distillation literature, for images of 32×32 pixels.

Sizes agree with the tables of Tian, Krishnan & Isola (2020), "Contrastive Representation Distillation".
Every network has the taps ``map_1`` … (output of each resolution level), ``map``, ``feature`` and ``head``;
``map_1_pre`` … are the same before their last ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.registry import model
from kdrun.types import Count, Fraction, Positive, Size

__all__ = ["CifarResNet", "CifarVgg", "MobileNetV2", "ShuffleNetV1", "ShuffleNetV2", "WideResNet"]


def _levels(paths: Sequence[str], before_relu: Sequence[str] = ()) -> dict[str, str]:
    named = {f"map_{i + 1}": p for i, p in enumerate(paths)}
    early = {f"map_{i + 1}_pre": p for i, p in enumerate(before_relu)}
    return {"feature": "head:input", "head": "head", "map": paths[-1], **named, **early}


def _convolution(before: int, after: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)


def _unit(
    before: int, after: int, kernel: int = 3, stride: int = 1, groups: int = 1, relu: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    return nn.Sequential(_convolution(before, after, kernel, stride, groups), nn.BatchNorm2d(after), relu())


class _Classifier(nn.Module):
    """A stem, levels of blocks, global average pooling and a linear head."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, num_classes)
        self.tap_points: dict[str, str] = {}

    def maps(self, image: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, 32, 32]."""
        return self.head(self.pool(self.maps(image)).flatten(1))


def _initialize(network: nn.Module) -> None:
    """He et al. (2015): normal with fan-out for convolutions, ones and zeros for norms."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; ``sum`` is the value before the last ReLU."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = _unit(before, after, stride=stride)
        self.second = nn.Sequential(_convolution(after, after), nn.BatchNorm2d(after))
        same = before == after and stride == 1
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(_convolution(before, after, 1, stride), nn.BatchNorm2d(after))
        )
        self.sum = nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        return self.relu(self.sum(self.second(self.first(input)) + self.shortcut(input)))


@model(name="cifar_resnet")
class CifarResNet(_Classifier):
    """ResNet of depth 6n+2 (He et al., 2016, section 4.2) with convolutional shortcuts; ``widen=4`` is "x4".

    Level widths are 16, 32, 64, times ``widen``; in the "x4" networks the stem is 32 channels wide.
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
        self.stem = _unit(int(in_channels), stem)
        self.levels = nn.Sequential()
        for i, width in enumerate(widths):
            before = stem if i == 0 else widths[i - 1]
            first = _BasicBlock(before, width, 1 if i == 0 else 2)
            self.levels.append(nn.Sequential(first, *[_BasicBlock(width, width, 1) for _ in range(blocks - 1)]))
        _initialize(self)
        self.tap_points = _levels([f"levels.{i}" for i in range(3)], [f"levels.{i}.{blocks - 1}.sum" for i in range(3)])

    def maps(self, image: Tensor) -> Tensor:
        return self.levels(self.stem(image))


class _PreActivationBlock(nn.Module):
    """Norm and ReLU before each convolution (Zagoruyko & Komodakis, 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first_norm, self.first_relu = nn.BatchNorm2d(before), nn.ReLU()
        self.first = _convolution(before, after, stride=stride)
        self.second = nn.Sequential(nn.BatchNorm2d(after), nn.ReLU(), _convolution(after, after))
        self.shortcut = None if before == after else _convolution(before, after, 1, stride)

    def forward(self, input: Tensor) -> Tensor:
        active = self.first_relu(self.first_norm(input))
        kept = input if self.shortcut is None else self.shortcut(active)
        return self.second(self.first(active)) + kept


@model(name="wide_resnet")
class WideResNet(_Classifier):
    """Wide residual network WRN-depth-width (Zagoruyko & Komodakis, 2016), depth 6n+4."""

    def __init__(
        self, *, depth: Count = 16, width: Count = 2, num_classes: Size = "auto", in_channels: Size = "auto"
    ) -> None:
        if (depth - 4) % 6:
            raise InputError(f"the depth of a wide ResNet is 6n+4, got {depth}")
        widths = [16, 16 * width, 32 * width, 64 * width]
        super().__init__(widths[-1], int(num_classes))
        blocks = (depth - 4) // 6
        self.stem = _convolution(int(in_channels), 16)
        self.levels = nn.Sequential()
        for i in range(3):
            first = _PreActivationBlock(widths[i], widths[i + 1], 1 if i == 0 else 2)
            self.levels.append(
                nn.Sequential(first, *[_PreActivationBlock(widths[i + 1], widths[i + 1], 1) for _ in range(blocks - 1)])
            )
        self.last = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        _initialize(self)
        paths = ["levels.0", "levels.1", "last"]
        self.tap_points = _levels(paths, ["levels.0", "levels.1", "last.0"])

    def maps(self, image: Tensor) -> Tensor:
        return self.last(self.levels(self.stem(image)))


VGG = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@model(name="cifar_vgg")
class CifarVgg(_Classifier):
    """VGG with batch norm (Simonyan & Zisserman, 2015) and a single linear head."""

    def __init__(
        self, *, depth: Literal[8, 11, 13, 16, 19] = 8, num_classes: Size = "auto", in_channels: Size = "auto"
    ) -> None:
        super().__init__(512, int(num_classes))
        self.levels = nn.Sequential()
        before = int(in_channels)
        for i, (width, count) in enumerate(zip((64, 128, 256, 512, 512), VGG[depth], strict=True)):
            pool = [nn.MaxPool2d(2)] if i else []
            units = []
            for _ in range(count):
                convolution = nn.Conv2d(before, width, 3, padding=1)
                units.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
                before = width
            self.levels.append(nn.Sequential(*pool, *units))
        _initialize(self)
        last = [f"levels.{i}.{len(level) - 1}" for i, level in enumerate(self.levels)]  # type: ignore[arg-type]
        self.tap_points = _levels([f"levels.{i}" for i in range(5)], [f"{p}.1" for p in last])

    def maps(self, image: Tensor) -> Tensor:
        return self.levels(image)


class _InvertedResidual(nn.Module):
    """Expand, filter by channel, project (Sandler et al., 2018)."""

    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = before * expansion
        self.layers = nn.Sequential(
            _unit(before, hidden, 1),
            _unit(hidden, hidden, 3, stride, groups=hidden),
            _convolution(hidden, after, 1),
            nn.BatchNorm2d(after),
        )
        self.residual = stride == 1 and before == after

    def forward(self, input: Tensor) -> Tensor:
        return input + self.layers(input) if self.residual else self.layers(input)


@model(name="mobilenet_v2")
class MobileNetV2(_Classifier):
    """MobileNetV2 with the strides of the CIFAR literature (Sandler et al., 2018); ``width=0.5`` is its usual student."""

    def __init__(
        self, *, width: Positive = 0.5, expansion: Count = 6, num_classes: Size = "auto", in_channels: Size = "auto"
    ) -> None:
        last = int(1280 * width) if width > 1 else 1280
        super().__init__(last, int(num_classes))
        plan = [
            (1, 16, 1, 1),
            (0, 24, 2, 1),
            (0, 32, 3, 2),
            (0, 64, 4, 2),
            (0, 96, 3, 1),
            (0, 160, 3, 2),
            (0, 320, 1, 1),
        ]
        before = int(32 * width)
        self.stem = _unit(int(in_channels), before, stride=2)
        self.levels = nn.Sequential()
        for factor, channels, count, stride in plan:
            after = int(channels * width)
            blocks = []
            for i in range(count):
                blocks.append(_InvertedResidual(before, after, stride if i == 0 else 1, factor or expansion))
                before = after
            self.levels.append(nn.Sequential(*blocks))
        self.last = _unit(before, last, 1)
        _initialize(self)
        self.tap_points = _levels(["levels.1", "levels.2", "levels.4", "levels.6"])

    def maps(self, image: Tensor) -> Tensor:
        return self.last(self.levels(self.stem(image)))


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
        self.reduce = _unit(before, middle, 1, groups=self.groups)
        self.filter = nn.Sequential(_convolution(middle, middle, 3, stride, groups=middle), nn.BatchNorm2d(middle))
        self.expand = nn.Sequential(_convolution(middle, own, 1, groups=groups), nn.BatchNorm2d(own))
        self.sum = nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        inner = self.expand(self.filter(_shuffle(self.reduce(input), self.groups)))
        if self.stride == 2:
            return self.relu(self.sum(torch.cat([inner, F.avg_pool2d(input, 3, 2, 1)], dim=1)))
        return self.relu(self.sum(inner + input))


@model(name="shufflenet_v1")
class ShuffleNetV1(_Classifier):
    """ShuffleNet with 3 groups (Zhang et al., 2018), as the CIFAR literature trims it: no stem stride."""

    def __init__(self, *, groups: Count = 3, num_classes: Size = "auto", in_channels: Size = "auto") -> None:
        widths = [80 * groups, 160 * groups, 320 * groups]
        super().__init__(widths[-1], int(num_classes))
        self.stem = _unit(int(in_channels), 24, 1)
        self.levels = nn.Sequential()
        before = 24
        for width, count in zip(widths, (4, 8, 4), strict=True):
            units = [
                _ShuffleUnitV1(before if i == 0 else width, width, 2 if i == 0 else 1, groups) for i in range(count)
            ]
            self.levels.append(nn.Sequential(*units))
            before = width
        _initialize(self)
        last = (3, 7, 3)
        self.tap_points = _levels(
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
            _unit(inner, inner, 1),
            _convolution(inner, inner, 3, groups=inner),
            nn.BatchNorm2d(inner),
            _unit(inner, inner, 1),
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
            _convolution(before, before, 3, 2, groups=before), nn.BatchNorm2d(before), _unit(before, half, 1)
        )
        self.right = nn.Sequential(
            _unit(before, half, 1),
            _convolution(half, half, 3, 2, groups=half),
            nn.BatchNorm2d(half),
            _unit(half, half, 1),
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
class ShuffleNetV2(_Classifier):
    """ShuffleNetV2 (Ma et al., 2018), as the CIFAR literature trims it: a 1×1 stem without stride."""

    def __init__(
        self, *, width: float = 1.0, share: Fraction = 0.5, num_classes: Size = "auto", in_channels: Size = "auto"
    ) -> None:
        if width not in SHUFFLE_WIDTHS:
            raise InputError(
                f"the width of a ShuffleNetV2 is one of {', '.join(map(str, SHUFFLE_WIDTHS))}, got {width}"
            )
        *widths, last = SHUFFLE_WIDTHS[width]
        super().__init__(last, int(num_classes))
        self.stem = _unit(int(in_channels), 24, 1)
        self.levels = nn.Sequential()
        before = 24
        for channels, count in zip(widths, (3, 7, 3), strict=True):
            self.levels.append(
                nn.Sequential(
                    _ShuffleDownV2(before, channels), *[_ShuffleUnitV2(channels, share) for _ in range(count)]
                )
            )
            before = channels
        self.last = _unit(before, last, 1)
        _initialize(self)
        self.tap_points = _levels([f"levels.{i}" for i in range(3)])

    def maps(self, image: Tensor) -> Tensor:
        return self.last(self.levels(self.stem(image)))
