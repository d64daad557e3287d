"""Networks from images to density maps."""

from __future__ import annotations

from torch import Tensor, nn

from kdrun.registry import model
from kdrun.types import Count, Size

__all__ = ["DilatedDensityNet"]


@model(name="dilated_density_net")
class DilatedDensityNet(nn.Module):
    """A density-map counter with a dilated back end (Li et al., 2018, CSRNet), its channels divided by ``width_divisor``.

    Four blocks of ``convolutions`` 3×3 convolutions with ReLU and max-pooling (rounding up) between; six dilated ones
    of widths w, w, w, w/2, w/4, w/8 with w the last of ``widths``; then 1×1 to one channel at an eighth of the side.
    Named taps: ``tap_0`` the first convolution, ``tap_1`` to ``tap_3`` the pools, ``tap_4`` and ``tap_5`` the first and
    fourth of the back end.
    """

    def __init__(
        self,
        *,
        widths: list[Count] = (64, 128, 256, 512),  # type: ignore[assignment]
        convolutions: list[Count] = (2, 2, 3, 3),  # type: ignore[assignment]
        width_divisor: Count = 1,
        in_channels: Size = "auto",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        pools: list[int] = []
        before = int(in_channels)
        for block, (width, count) in enumerate(zip(widths, convolutions, strict=True)):
            for _ in range(count):
                layers += [nn.Conv2d(before, max(width // width_divisor, 1), 3, padding=1), nn.ReLU()]
                before = max(width // width_divisor, 1)
            if block < len(widths) - 1:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                pools.append(len(layers) - 1)
        last = widths[-1]
        back: list[nn.Module] = []
        for width in (last, last, last, last // 2, last // 4, last // 8):
            back += [nn.Conv2d(before, max(width // width_divisor, 1), 3, padding=2, dilation=2), nn.ReLU()]
            before = max(width // width_divisor, 1)
        self.front, self.back = nn.Sequential(*layers), nn.Sequential(*back)
        self.density = nn.Conv2d(before, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        taps = {f"tap_{i + 1}": f"front.{place}" for i, place in enumerate(pools)}
        self.tap_points = {"tap_0": "front.1", **taps, "tap_4": "back.1", "tap_5": "back.7"}

    def forward(self, image: Tensor) -> Tensor:
        """Density [batch, 1, h/8, w/8] of images [batch, channels, h, w]."""
        return self.density(self.back(self.front(image)))
