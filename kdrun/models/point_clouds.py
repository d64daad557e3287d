"""Networks that read sets of points in any order."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from kdrun.registry import model
from kdrun.types import Count, Fraction, Size

__all__ = ["PointNet"]


def _shared(widths: list[int]) -> nn.Sequential:
    """The same layers for every point: [batch, channels, points]."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def _dense(widths: list[int], dropout: float = 0.0) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))


class Alignment(nn.Module):
    """A linear map of points that the cloud itself chooses; the identity at first."""

    def __init__(self, channels: int, widths: list[int], hidden: list[int]) -> None:
        super().__init__()
        self.channels = channels
        self.points = _shared([channels, *widths])
        self.cloud = _dense([widths[-1], *hidden])
        self.map = nn.Linear(hidden[-1], channels * channels)
        nn.init.zeros_(self.map.weight)
        with torch.no_grad():
            self.map.bias.copy_(torch.eye(channels).flatten())

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, points] to the same."""
        chosen = self.map(self.cloud(self.points(x).amax(2)))
        return chosen.view(-1, self.channels, self.channels) @ x


@model(name="pointnet")
class PointNet(nn.Module):
    """Layers shared by all points, their maximum, and dense layers: the same for any order of points (Qi et al., 2017).

    Points go through ``first``, then ``widths``; the maximum over points through ``hidden``, with ``dropout`` behind them, to a linear head.
    ``align`` puts a learned linear map before each of the first two, chosen by the cloud through ``widths`` and ``hidden`` of its own
    (the paper's T-Nets). All layers have batch norm and ReLU.

    Reads ``points`` [batch, points, coordinates] and gives logits [batch, num_classes]. Taps: ``feature`` [batch, hidden] and ``head``.

    >>> network = models.pointnet(first=[8], widths=[16], hidden=[8], align=False, num_classes=3).eval()
    >>> cloud = torch.randn(2, 20, 3)
    >>> torch.allclose(network(cloud), network(cloud.flip(1)), atol=1e-6)
    True
    """

    def __init__(
        self,
        *,
        coordinates: Count = 3,
        first: list[Count] = (64, 64),  # type: ignore[assignment]
        widths: list[Count] = (64, 128, 1024),  # type: ignore[assignment]
        hidden: list[Count] = (512, 256),  # type: ignore[assignment]
        align: bool = True,
        dropout: Fraction = 0.3,
        num_classes: Size = "auto",
    ) -> None:
        super().__init__()
        first, widths, hidden = list(first), list(widths), list(hidden)
        sizes = (coordinates, first[-1])
        self.align = nn.ModuleList(Alignment(size, widths, hidden) if align else nn.Identity() for size in sizes)
        self.first = _shared([coordinates, *first])
        self.points = _shared([first[-1], *widths])
        self.cloud = _dense([widths[-1], *hidden], dropout)
        self.head = nn.Linear(hidden[-1], int(num_classes))
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, points: Tensor) -> Tensor:
        """Logits [batch, classes] of clouds [batch, points, coordinates]."""
        x = self.first(self.align[0](points.transpose(1, 2)))
        return self.head(self.cloud(self.points(self.align[1](x)).amax(2)))
