"""Spaces of architectures: what can be drawn and changed one choice at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kdrun.errors import InputError
from kdrun.registry import model, space
from kdrun.types import Count, Size

__all__ = ["ChoiceSpace", "StagedNetwork"]

Spec = dict[str, Any]


@space(name="choices")
class ChoiceSpace:
    """One model with some parameters left to choose: ``choices`` maps each to the values it may take.

    A parameter that is a list has one choice for each entry: ``{depths: [[1, 2, 3], [1, 2, 3]]}``. ``model`` is the
    specification that they complete. Raises ``InputError`` for a choice without values.
    """

    def __init__(self, *, model: dict[str, Any], choices: dict[str, list[Any]]) -> None:
        self.fixed = dict(model)
        self.options: dict[tuple[str, int | None], list[Any]] = {}
        for name, values in choices.items():
            nested = bool(values) and all(isinstance(v, list) for v in values)
            for i, inner in enumerate(values if nested else [values]):
                if not inner:
                    raise InputError(f"there is nothing to choose for '{name}'", key=f"space.choices.{name}")
                self.options[name, i if nested else None] = inner

    def sample(self, generator: torch.Generator) -> Spec:
        """A specification with every choice drawn uniformly."""
        return self._spec({place: self._drawn(values, generator) for place, values in self.options.items()})

    def mutate(self, spec: Spec, generator: torch.Generator) -> Spec:
        """``spec`` with one choice, drawn uniformly, replaced by another of its values."""
        chosen = {(n, i): spec[n] if i is None else spec[n][i] for n, i in self.options}
        open_ = [place for place, values in self.options.items() if len(values) > 1]
        place = self._drawn(open_, generator)
        chosen[place] = self._drawn([v for v in self.options[place] if v != chosen[place]], generator)
        return self._spec(chosen)

    def _spec(self, chosen: dict[tuple[str, int | None], Any]) -> Spec:
        spec = dict(self.fixed)
        for (name, i), value in chosen.items():
            if i is None:
                spec[name] = value
            else:
                spec[name] = [*spec[name], value] if i else [value]
        return spec

    @staticmethod
    def _drawn(values: list[Any], generator: torch.Generator) -> Any:
        return values[int(torch.randint(len(values), (1,), generator=generator))]


@model(name="staged_network")
class StagedNetwork(nn.Module):
    """Stages of convolution, batch norm and ReLU, each with its own depth, kernel and width; pooled between stages.

    ``depths``, ``kernels`` (pixels) and ``widths`` (channels) have an entry a stage. ``skip`` adds the input of every
    layer that keeps the width to its output. The head reads the mean of the last map. Reads images [batch, in_channels,
    h, w] and gives logits [batch, num_classes]. Taps: ``map`` (the last), ``feature``, ``head``. Raises ``ValueError``
    if the three lists differ in length.

    >>> network = models.staged_network(depths=[1, 2], kernels=[3, 3], widths=[4, 8], num_classes=3, in_channels=1)
    >>> network(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        depths: list[Count] = (2, 2, 2),  # type: ignore[assignment]
        kernels: list[Count] = (3, 3, 3),  # type: ignore[assignment]
        widths: list[Count] = (8, 16, 32),  # type: ignore[assignment]
        skip: bool = False,
        num_classes: Size = "auto",
        in_channels: Size = "auto",
    ) -> None:
        super().__init__()
        if not len(depths) == len(kernels) == len(widths):
            raise ValueError(f"{len(depths)} depths, {len(kernels)} kernels and {len(widths)} widths")
        stages: list[nn.Module] = []
        before = int(in_channels)
        for i, (depth, kernel, width) in enumerate(zip(depths, kernels, widths, strict=True)):
            layers: list[nn.Module] = [nn.MaxPool2d(2, ceil_mode=True)] if i else []
            for _ in range(depth):
                layers.append(_Layer(before, width, kernel, skip and before == width))
                before = width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(before, int(num_classes))
        self.tap_points = {"feature": "head:input", "head": "head", "map": f"stages.{len(stages) - 1}"}

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width]."""
        return self.head(self.stages(image).mean((2, 3)))


class _Layer(nn.Module):
    def __init__(self, before: int, width: int, kernel: int, skip: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.skip = skip

    def forward(self, maps: Tensor) -> Tensor:
        found = self.body(maps)
        return found + maps if self.skip else found
