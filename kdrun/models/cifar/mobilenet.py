"""MobileNetV2 for images of 32×32 pixels."""

from __future__ import annotations

from torch import Tensor, nn

from kdrun.models.cifar.layers import LeveledClassifier, convolution, convolution_unit, kaiming_initialize
from kdrun.models.taps import level_taps
from kdrun.registry import model
from kdrun.types import Count, Positive, Size

__all__ = ["MobileNetV2"]


class _InvertedResidual(nn.Module):
    """Expand, filter by channel, project (Sandler et al., 2018)."""

    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = before * expansion
        self.layers = nn.Sequential(
            convolution_unit(before, hidden, 1),
            convolution_unit(hidden, hidden, 3, stride, groups=hidden),
            convolution(hidden, after, 1),
            nn.BatchNorm2d(after),
        )
        self.residual = stride == 1 and before == after

    def forward(self, input: Tensor) -> Tensor:
        return input + self.layers(input) if self.residual else self.layers(input)


@model(name="mobilenet_v2")
class MobileNetV2(LeveledClassifier):
    """MobileNetV2 with the strides of the CIFAR literature (Sandler et al., 2018); ``width=0.5`` is its usual student.

    ``width`` multiplies the channels of all levels, ``expansion`` those inside a block. Reads images [batch,
    in_channels, 32, 32] (any size does) and gives logits [batch, num_classes]. Taps: ``map_1`` to ``map_4``, ``map``,
    ``feature``, ``head``.

    >>> models.mobilenet_v2(num_classes=10, in_channels=3)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

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
        self.stem = convolution_unit(int(in_channels), before, stride=2)
        self.levels = nn.Sequential()
        for factor, channels, count, stride in plan:
            after = int(channels * width)
            blocks = []
            for i in range(count):
                blocks.append(_InvertedResidual(before, after, stride if i == 0 else 1, factor or expansion))
                before = after
            self.levels.append(nn.Sequential(*blocks))
        self.last = convolution_unit(before, last, 1)
        kaiming_initialize(self)
        self.tap_points = level_taps(["levels.1", "levels.2", "levels.4", "levels.6"])

    def maps(self, image: Tensor) -> Tensor:
        return self.last(self.levels(self.stem(image)))
