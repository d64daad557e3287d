"""VGG networks for images of 32×32 pixels."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from kdrun.models.cifar.layers import LeveledClassifier, kaiming_initialize
from kdrun.models.taps import level_taps
from kdrun.registry import model
from kdrun.types import Size

__all__ = ["CifarVgg"]

VGG = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@model(name="cifar_vgg")
class CifarVgg(LeveledClassifier):
    """VGG with batch norm (Simonyan & Zisserman, 2015) and a single linear head.

    ``depth`` counts layers with weights as in the original. Five levels of 64, 128, 256, 512 and 512 channels,
    max-pooled between. Reads images [batch, in_channels, 32, 32] (16 pixels at least) and gives logits [batch,
    num_classes]. Taps: ``map_1`` to ``map_5``, ``map``, ``map_1_pre`` …, ``feature``, ``head``.

    >>> models.cifar_vgg(depth=8, num_classes=10, in_channels=3)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

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
                filters = nn.Conv2d(before, width, 3, padding=1)
                units.append(nn.Sequential(filters, nn.BatchNorm2d(width), nn.ReLU()))
                before = width
            self.levels.append(nn.Sequential(*pool, *units))
        kaiming_initialize(self)
        last = [f"levels.{i}.{len(level) - 1}" for i, level in enumerate(self.levels)]  # type: ignore[arg-type]
        self.tap_points = level_taps([f"levels.{i}" for i in range(5)], [f"{p}.1" for p in last])

    def maps(self, image: Tensor) -> Tensor:
        return self.levels(image)
