"""Networks from images to density maps."""

from __future__ import annotations

from torch import Tensor, nn

from kdrun.registry import model
from kdrun.types import Count, Positive, Size

__all__ = ["DilatedDensityNet"]


@model(name="dilated_density_net")
class DilatedDensityNet(nn.Module):
    """A density-map counter with a dilated back end (Li et al., 2018, CSRNet), its channels divided by ``width_divisor``.

    ``features``: a block for each of ``widths``, with that many ``convolutions`` of 3×3 and ReLU, max-pooled between
    (sizes rounded up), as in VGG-16, whose weights fit by name at the default widths. ``back``: six convolutions of
    dilation 2 with w, w, w, w/2, w/4 and w/8 channels, w the last of ``widths``; then 1×1 to one channel. First weights
    are normal, Kaiming's by fan-out or of standard ``deviation``; biases are 0.

    Reads images [batch, in_channels, h, w] and gives a density [batch, 1, h/8, w/8] (with three pools, rounded up),
    whose sum is the count. Taps: ``stem`` (the first convolution), ``map_1`` … (the blocks), ``pool_1`` … (the pools),
    ``back_1`` … ``back_6``, ``map`` (the last of them), all after ReLU.

    >>> models.dilated_density_net(width_divisor=16, in_channels=3)(torch.zeros(1, 3, 32, 48)).shape
    torch.Size([1, 1, 4, 6])
    """

    def __init__(
        self,
        *,
        widths: list[Count] = (64, 128, 256, 512),  # type: ignore[assignment]
        convolutions: list[Count] = (2, 2, 3, 3),  # type: ignore[assignment]
        width_divisor: Count = 1,
        deviation: Positive | None = None,
        in_channels: Size = "auto",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        points = {"stem": "features.1"}
        before = int(in_channels)
        for block, (width, count) in enumerate(zip(widths, convolutions, strict=True), 1):
            for _ in range(count):
                layers += [nn.Conv2d(before, _divided(width, width_divisor), 3, padding=1), nn.ReLU()]
                before = _divided(width, width_divisor)
            points[f"map_{block}"] = f"features.{len(layers) - 1}"
            if block < len(widths):
                points[f"pool_{block}"] = f"features.{len(layers)}"
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
        back: list[nn.Module] = []
        for number, share in enumerate((1, 1, 1, 2, 4, 8), 1):
            width = _divided(widths[-1], share * width_divisor)
            points[f"back_{number}"] = f"back.{len(back) + 1}"
            back += [nn.Conv2d(before, width, 3, padding=2, dilation=2), nn.ReLU()]
            before = width
        self.features, self.back = nn.Sequential(*layers), nn.Sequential(*back)
        self.density = nn.Conv2d(before, 1, 1)
        self.tap_points = {**points, "map": points["back_6"]}
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _draw(module, deviation)

    def forward(self, image: Tensor) -> Tensor:
        """Density [batch, 1, h/8, w/8] (with three pools, rounded up) of images [batch, channels, h, w]."""
        return self.density(self.back(self.features(image)))


def _divided(width: int, by: int) -> int:
    return max(width // by, 1)


def _draw(convolution: nn.Conv2d, deviation: float | None) -> None:
    if deviation is None:
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    else:
        nn.init.normal_(convolution.weight, std=deviation)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
