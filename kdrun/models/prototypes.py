"""Heads of unit prototypes, whose logits are cosines: one behind a backbone, or several behind projectors of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.models.heads import headless
from kdrun.registry import model
from kdrun.types import Count, Size

__all__ = ["PrototypeClassifier", "PrototypeHeads", "UnitPrototypes"]


class UnitPrototypes(nn.Module):
    """Cosines of features [batch, features] with a prototype a class: [batch, classes]; ``weight`` [classes, features].

    Prototypes are brought to unit length in place before each call in training, so that gradients are those of a plain linear
    layer at unit rows; in eval mode a copy is, and the weights stay as they are.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(classes, features), dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """[batch, classes] of [batch, features], from -1 to 1."""
        unit = F.normalize(features, dim=1)
        if not self.training:
            return F.linear(unit, F.normalize(self.weight, dim=1))
        held = self.weight.data  # no new version: an earlier call of the same step keeps its gradient
        held.copy_(F.normalize(held, dim=1))
        return F.linear(unit, self.weight)


@model(name="prototype_classifier")
class PrototypeClassifier(nn.Module):
    """A backbone without its head, a linear layer to ``width`` features (none without it), and unit prototypes: logits are cosines.

    ``backbone`` names any registered model with a linear head, which comes off. A loss divides the logits by a temperature. The
    parts are ``backbone``, ``projection`` and ``head``, whose prototypes are unit rows before each step of training (Caron et al.,
    2020).

    Reads what the backbone reads, such as images [batch, in_channels, image_size, image_size], and gives logits [batch,
    num_classes] from -1 to 1. Taps: ``feature`` [batch, width], ``head``, and those of the backbone. Raises ``InputError`` if the
    backbone names no linear head.

    >>> inside = {"model": "cnn", "channels": [4, 8]}
    >>> network = models.prototype_classifier(backbone=inside, width=16, num_classes=3, in_channels=1, image_size=8)
    >>> logits = network(torch.rand(2, 1, 8, 8))
    >>> logits.shape, bool((logits.abs() <= 1).all())
    (torch.Size([2, 3]), True)
    """

    def __init__(
        self,
        *,
        backbone: dict[str, Any],
        width: Count | None = None,
        num_classes: Size = "auto",
        in_channels: Size = "auto",
        in_features: Size = "auto",
        image_size: Size = "auto",
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "in_features": in_features, "image_size": image_size}
        self.backbone, features, inner = headless(backbone, sizes)
        self.projection = nn.Identity() if width is None else nn.Linear(features, width)
        self.head = UnitPrototypes(width or features, int(num_classes))
        self.tap_points = {"feature": "head:input", "head": "head", **inner}

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width]."""
        return self.head(self.projection(torch.flatten(self.backbone(image), 1)))


@model(name="prototype_heads")
class PrototypeHeads(nn.Module):
    """Several heads over the same features, each a projector (linear, batch norm, ReLU, linear) and unit prototypes of its own.

    Reads features [batch, in_features] and gives cosines [batch, heads, num_classes]; projectors have ``hidden`` units and give
    ``width`` features (Fini et al., 2021).

    >>> models.prototype_heads(heads=3, hidden=16, width=8, in_features=4, num_classes=5)(torch.rand(2, 4)).shape
    torch.Size([2, 3, 5])
    """

    def __init__(
        self,
        *,
        heads: Count = 4,
        hidden: Count = 2048,
        width: Count = 256,
        in_features: Size = "auto",
        num_classes: Size = "auto",
    ) -> None:
        super().__init__()
        inputs, classes = int(in_features), int(num_classes)
        self.projectors = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, width))
            for _ in range(heads)
        )
        self.prototypes = nn.ModuleList(UnitPrototypes(width, classes) for _ in range(heads))

    def forward(self, feature: Tensor) -> Tensor:
        """Cosines [batch, heads, classes] of features [batch, in_features]."""
        pairs = zip(self.projectors, self.prototypes, strict=True)
        return torch.stack([prototypes(project(feature)) for project, prototypes in pairs], dim=1)
