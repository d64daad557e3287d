"""Parts of our own: named on the command line by plugins=[parts.py], in recipes and options by their names."""

from __future__ import annotations

import itertools

from kdrun.registry import model, op
from kdrun.types import Count, Size
from torch import Tensor, nn


@op
def centred_logit_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows of the squared distance of logits [batch, classes], each less its row's mean: a scalar of 0 or above.

    What stands before ``*`` is bound by ``from``, what stands behind it is a parameter that recipes set.
    """
    difference = student - teacher
    return (difference - difference.mean(1, keepdim=True)).square().sum(1).mean()


@model(name="my_network")
class MyNetwork(nn.Module):
    """Blocks of a convolution in space and one in channels, with batch norm and ReLU; every block but the first halves the map.

    Reads images [batch, in_channels, height, width] and gives logits [batch, num_classes]. Taps: ``map_1`` … (the blocks),
    ``map`` (the last), ``feature`` (what the head reads), ``head``. Sizes that are ``auto`` are those of the data.
    """

    def __init__(
        self, *, channels: list[Count] = (16, 32), num_classes: Size = "auto", in_channels: Size = "auto"
    ) -> None:
        super().__init__()
        widths = [int(in_channels), *channels]
        self.blocks = nn.Sequential(
            *(block(*pair, stride=min(i, 2)) for i, pair in enumerate(itertools.pairwise(widths), 1))
        )
        self.head = nn.Linear(widths[-1], int(num_classes))
        maps = {f"map_{i}": f"blocks.{i - 1}" for i in range(1, len(widths))}
        self.tap_points = {**maps, "map": f"blocks.{len(channels) - 1}", "feature": "head:input", "head": "head"}

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        return self.head(self.blocks(image).mean((2, 3)))


def block(before: int, width: int, *, stride: int) -> nn.Module:
    """Maps [batch, before, height, width] to [batch, width, height / stride, width / stride]."""
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
        nn.Conv2d(before, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
