"""torchvision's classification models: built without memory, with named taps by class, since the library describes no levels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from kdrun.models.levels import Place, last_linear, with_points

__all__ = ["ValuesInConstructors", "torchvision_points"]

STRIDES = (4, 8, 16, 32)


class ValuesInConstructors(TorchFunctionMode):
    """Inside, small tensors that a constructor computes with have values, though its weights may be on the meta device.

    RegNets find their widths and depths by ``torch.arange`` and ``torch.tensor``.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if function in (torch.arange, torch.tensor):
            given.setdefault("device", "cpu")
        return function(*args, **given)


@cache
def _mnasnet() -> type[nn.Module]:
    """MNASNet, which takes weights that no version is said of for those of its own; the library's refuses all of these."""
    from torchvision import models

    class MNASNet(models.MNASNet):
        def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
            super()._load_from_state_dict(state, prefix, {"version": self._version, **metadata}, *rest)

    return MNASNet


def torchvision_points(network: Any) -> nn.Module:
    """Attach named taps to a classification model of torchvision, and let it be loaded from weights alone."""
    family = type(network).__name__
    levels = LEVELS[family](network) if family in LEVELS else []
    if family == "MNASNet":
        network.__class__ = _mnasnet()
    tokens = {"VisionTransformer": "encoder.ln", "SwinTransformer": "norm"}.get(family)
    return with_points(
        network,
        head=last_linear(network),
        levels=levels,
        tokens=Place(tokens) if tokens else None,
        blocks=levels if family == "VisionTransformer" else (),
        channels_last=family == "SwinTransformer",
    )


def _at(*paths: str) -> Callable[[Any], list[Place]]:
    """One level a stride, the coarsest at 32."""
    return lambda network: [Place(path, s) for path, s in zip(paths, STRIDES[-len(paths) :], strict=True)]


def _along(sequence: str, beyond: int = 0) -> Callable[[Any], list[Place]]:
    """The members of a sequence of layers without shortcuts, but for the last ``beyond`` ones, a widening before the classifier."""

    def levels(network: Any) -> list[Place]:
        stride, found = 1, []
        members = list(network.get_submodule(sequence).named_children())
        for name, member in members[: len(members) - beyond]:
            stride *= math.prod(_step(layer) for layer in member.modules())
            found.append(Place(f"{sequence}.{name}", stride))
        return found

    return levels


def _step(layer: nn.Module) -> int:
    step = layer.stride if isinstance(layer, nn.Conv2d | nn.MaxPool2d) else 1
    return int(step[0] if isinstance(step, tuple) else step)


def _blocks(network: Any) -> list[Place]:
    return [Place(f"encoder.layers.{name}", network.patch_size) for name, _ in network.encoder.layers.named_children()]


LEVELS: dict[str, Callable[[Any], list[Place]]] = {
    "AlexNet": _along("features"),
    "ConvNeXt": _at("features.1", "features.3", "features.5", "features.7"),
    "DenseNet": _at(*(f"features.denseblock{i}" for i in (1, 2, 3, 4))),
    "EfficientNet": _along("features", beyond=1),
    "GoogLeNet": _at("conv3", "inception3b", "inception4e", "inception5b"),
    "Inception3": _at("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"),
    "MNASNet": _along("layers", beyond=3),
    "MaxVit": _at(*(f"blocks.{i}" for i in range(4))),
    "MobileNetV2": _along("features", beyond=1),
    "MobileNetV3": _along("features"),
    "RegNet": _at(*(f"trunk_output.block{i}" for i in (1, 2, 3, 4))),
    "ResNet": _at("layer1", "layer2", "layer3", "layer4"),
    "ShuffleNetV2": _at("maxpool", "stage2", "stage3", "stage4"),
    "SqueezeNet": _along("features"),
    "SwinTransformer": _at("features.1", "features.3", "features.5", "features.7"),
    "VGG": _along("features"),
    "VisionTransformer": _blocks,
}
