"""Classifiers put together from a backbone and layers on top."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.registry import catalog, model
from kdrun.types import Count, Positive, Size

__all__ = [
    "BottleneckClassifier",
    "CosineClassifier",
    "CosineHead",
    "HeadsByTask",
    "MultiHeadClassifier",
    "WeightNormLinear",
    "head_of_tasks",
]


class WeightNormLinear(nn.Module):
    """A linear layer whose row c is ``length_c`` times the unit vector along ``direction_c`` (Salimans & Kingma, 2016).

    As torch's own parametrization, but without a module that is fed its own parameters, which no FLOP counter follows.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        start = nn.Linear(in_features, out_features)
        self.direction = nn.Parameter(start.weight.detach().clone())
        self.length = nn.Parameter(start.weight.detach().norm(dim=1, keepdim=True))
        self.bias = nn.Parameter(start.bias.detach().clone())

    @property
    def weight(self) -> Tensor:
        """The effective rows [out, in]."""
        return self.length * F.normalize(self.direction, dim=1)

    def forward(self, input: Tensor) -> Tensor:
        """[..., out] of [..., in]."""
        return F.linear(input, self.weight, self.bias)


@model(name="bottleneck_classifier")
class BottleneckClassifier(nn.Module):
    """A backbone without its head, a linear layer with batch norm (the feature), and a weight-normalised linear head.

    The usual classifier of source-free adaptation (Liang et al., 2020). ``backbone`` names any registered model with a
    linear head, such as ``{model: torchvision, name: resnet50}``: the head comes off, and what it would read goes
    through the bottleneck of ``width`` features. The parts are ``backbone``, ``bottleneck`` and ``head``. Without ``batch_norm`` the
    bottleneck, and without ``weight_norm`` the head is a plain linear layer.

    Reads what the backbone reads, such as images [batch, in_channels, image_size, image_size], and gives logits [batch,
    num_classes]. Taps: ``feature`` [batch, width], ``head``, and those of the backbone. Raises ``InputError`` if the
    backbone names no linear head.

    >>> inside = {"model": "cnn", "channels": [4, 8]}
    >>> network = models.bottleneck_classifier(backbone=inside, width=16, num_classes=3, in_channels=1, image_size=8)
    >>> network(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        backbone: dict[str, Any],
        width: Count = 256,
        batch_norm: bool = True,
        weight_norm: bool = True,
        num_classes: Size = "auto",
        in_channels: Size = "auto",
        in_features: Size = "auto",
        image_size: Size = "auto",
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "in_features": in_features, "image_size": image_size}
        self.backbone, features, inner = headless(backbone, sizes)
        normal = [nn.BatchNorm1d(width)] if batch_norm else []
        self.bottleneck = nn.Sequential(nn.Linear(features, width), *normal)
        self.head = (WeightNormLinear if weight_norm else nn.Linear)(width, int(num_classes))
        self.tap_points = {"feature": "head:input", "head": "head", **inner}

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width]."""
        return self.head(self.bottleneck(torch.flatten(self.backbone(image), 1)))


class HeadsByTask(nn.Module):
    """A linear layer without bias for each task: ``weight`` [tasks, classes, features], normal with variance 1 / features at first."""

    def __init__(self, features: int, classes: int, tasks: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(tasks, classes, features) / features**0.5)

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """[batch, classes] of [batch, features], each by the layer of its ``task`` [batch] (int64)."""
        return torch.einsum("bcf,bf->bc", self.weight[task], features)


def head_of_tasks(features: int, classes: int, tasks: int | None) -> nn.Linear | HeadsByTask:
    """A head for each of ``tasks``, or a plain linear one without bias for all."""
    return nn.Linear(features, classes, bias=False) if tasks is None else HeadsByTask(features, classes, tasks)


@model(name="multi_head_classifier")
class MultiHeadClassifier(nn.Module):
    """A backbone without its head, and a linear head for each task, or one for all with ``shared_head``.

    ``backbone`` names any registered model with a linear head. Reads what the backbone reads, such as images [batch, in_channels,
    image_size, image_size], and the ``task`` [batch] (int64, from 0 to ``tasks`` - 1) whose head answers each; gives logits
    [batch, num_classes]. Heads have no bias. Taps: ``feature`` [batch, width], ``head``, and those of the backbone. Raises
    ``InputError`` if the backbone names no linear head.

    >>> network = models.multi_head_classifier(
    ...     backbone={"model": "cnn", "channels": [4, 8]}, tasks=3, num_classes=2, in_channels=1, image_size=8
    ... )
    >>> network(torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 2, 1])).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        *,
        backbone: dict[str, Any],
        tasks: Count = 10,
        shared_head: bool = False,
        num_classes: Size = "auto",
        in_channels: Size = "auto",
        in_features: Size = "auto",
        image_size: Size = "auto",
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "in_features": in_features, "image_size": image_size}
        self.backbone, features, inner = headless(backbone, sizes)
        self.head = head_of_tasks(features, int(num_classes), None if shared_head else tasks)
        self.tap_points = {"feature": "head:input", "head": "head", **inner}

    def forward(self, image: Tensor, task: Tensor) -> Tensor:
        """Logits [batch, classes] of images, each by the head of its ``task`` [batch] (int64)."""
        features = torch.flatten(self.backbone(image), 1)
        return self.head(features, task) if isinstance(self.head, HeadsByTask) else self.head(features)


class CosineHead(nn.Module):
    """Logits ``scale · cos(z, w_c)`` of features by a direction w_c for each class; ``weight`` [classes, features], ``scale`` learned.

    ``fixed`` directions are a buffer: no optimizer, and so no decay, reaches them.
    """

    def __init__(self, features: int, classes: int, *, scale: float, fixed: bool) -> None:
        super().__init__()
        weight = torch.randn(classes, features) / features**0.5
        if fixed:
            self.register_buffer("weight", weight)
        else:
            self.weight = nn.Parameter(weight)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, features: Tensor) -> Tensor:
        """[batch, classes] of [batch, features]."""
        return self.scale * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


@model(name="cosine_classifier")
class CosineClassifier(nn.Module):
    """A backbone without its head, a linear layer to ``width`` features, and logits ``scale · cos(z, w_c)`` (Gidaris & Komodakis, 2018).

    ``backbone`` names any registered model with a linear head, which comes off. The head has a direction a class, learned, or with
    ``fixed_head`` as it stands (which ``given_weight`` may write); its ``scale`` is learned from this value on. The parts are
    ``backbone``, ``projection`` and ``head``.

    Reads what the backbone reads, such as images [batch, in_channels, image_size, image_size], and gives logits [batch,
    num_classes]. Taps: ``feature`` [batch, width], ``head``, and those of the backbone. Raises ``InputError`` if the backbone
    names no linear head.

    >>> inside = {"model": "cnn", "channels": [4, 8]}
    >>> network = models.cosine_classifier(backbone=inside, width=16, num_classes=3, in_channels=1, image_size=8)
    >>> network(torch.zeros(2, 1, 8, 8)).shape, network.head.weight.shape
    (torch.Size([2, 3]), torch.Size([3, 16]))
    """

    def __init__(
        self,
        *,
        backbone: dict[str, Any],
        width: Count = 384,
        scale: Positive = 10.0,
        fixed_head: bool = False,
        num_classes: Size = "auto",
        in_channels: Size = "auto",
        in_features: Size = "auto",
        image_size: Size = "auto",
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "in_features": in_features, "image_size": image_size}
        self.backbone, features, inner = headless(backbone, sizes)
        self.projection = nn.Linear(features, width)
        self.head = CosineHead(width, int(num_classes), scale=scale, fixed=fixed_head)
        self.tap_points = {"feature": "head:input", "head": "head", **inner}

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width]."""
        return self.head(self.projection(torch.flatten(self.backbone(image), 1)))


def headless(content: dict[str, Any], sizes: dict[str, Any]) -> tuple[nn.Module, int, dict[str, str]]:
    """A backbone without its head, how many features it gives, and its taps as those of the attribute ``backbone``.

    Heads come off: with ImageNet's number of classes, those of pretrained models are not replaced before.
    """
    module = _built(content, {"num_classes": 1000, **sizes})
    points = dict(getattr(module, "tap_points", {}))
    features = _without_head(module, points.get("head"), content["model"])
    return module, features, {n: f"backbone.{p}" for n, p in points.items() if n not in ("head", "feature")}


def _built(content: dict[str, Any], sizes: dict[str, Any]) -> nn.Module:
    part = catalog().get("model", content["model"])
    options = part.with_defaults({k: v for k, v in content.items() if k not in ("model", "weights")})
    return part.load()(**{k: sizes.get(k, v) if v == "auto" else v for k, v in options.items()})


def _without_head(module: nn.Module, path: str | None, name: str) -> int:
    """Replace the linear head at ``path`` by the identity; return how many features it read."""
    head = module.get_submodule(path) if path else None
    if not isinstance(head, nn.Linear):
        raise InputError(f"the backbone '{name}' names no linear head that could be taken off")
    parent, _, leaf = str(path).rpartition(".")
    setattr(module.get_submodule(parent) if parent else module, leaf, nn.Identity())
    return head.in_features
