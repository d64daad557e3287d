"""Named taps of models from libraries: one rule for all of them.

``map_1``, ``map_2``, … are the deepest maps [batch, channels, height, width] at strides 4, 8, 16, 32 and 64 of the image, ``map`` the
last one at whatever stride; ``tokens`` [batch, tokens, width] is the last that a model of tokens gives of them, ``tokens_1``, … what
its blocks give where all keep one stride; ``head`` is the classifier, ``feature`` [batch, width] what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kdrun.models.layouts import View

__all__ = ["Place", "last_linear", "path_of", "with_points"]

LEVEL_OF_STRIDE = {4: 1, 8: 2, 16: 3, 32: 4, 64: 5}
"""``map_1`` is at stride 4 in every family, so that what a stem keeps at stride 1 or 2 never shifts the count."""


@dataclass(frozen=True)
class Place:
    """A module of which something is read: its ``stride`` in pixels, which ``item`` of what it gives, in which order tokens are."""

    path: str
    stride: int | None = None
    item: int = 0
    arrange: Callable[[Tensor], Tensor] | None = None


def last_linear(module: nn.Module) -> str | None:
    """The path of the linear layer that was made last."""
    names = [n for n, m in module.named_modules() if isinstance(m, nn.Linear)]
    return names[-1] if names else None


def path_of(module: nn.Module, inner: Any) -> str | None:
    """The path of an inner module; None for what is none."""
    return next((name for name, found in module.named_modules() if found is inner and name), None)


def with_points(
    module: nn.Module,
    *,
    head: str | None,
    levels: Sequence[Place] = (),
    tokens: Place | None = None,
    blocks: Sequence[Place] = (),
    channels_last: bool = False,
) -> nn.Module:
    """Attach named taps, of the places that are there: the classifier's path, maps, last tokens and blocks of tokens.

    ``levels`` go from shallow to deep; ``channels_last``: maps are [batch, height, width, channels] inside.
    """
    modules = dict(module.named_modules())
    points: dict[str, str] = {}
    views: dict[str, View] = {}
    if head is not None and head in modules:
        points.update(head=head, feature=f"{head}:input")
        if isinstance(modules[head], nn.Conv2d):
            views.update(head=View("row"), feature=View("row"))
    for name, place in _named_levels(p for p in levels if p.path in modules):
        stride = (place.stride, place.stride) if place.stride else None
        points[name] = place.path
        views[name] = View("map", place.item, stride, None, channels_last, place.arrange)
    named_tokens = [*([("tokens", tokens)] if tokens else []), *((f"tokens_{i}", p) for i, p in enumerate(blocks, 1))]
    for name, place in named_tokens:
        if place.path in modules:
            points[name] = place.path
            views[name] = View("tokens", place.item, None, None, channels_last, place.arrange)
    object.__setattr__(module, "tap_points", points)
    object.__setattr__(module, "tap_views", views)
    object.__setattr__(module, "tap_channels_last", channels_last)
    return module


def _named_levels(levels: Iterable[Place]) -> list[tuple[str, Place]]:
    found = list(levels)
    named = {f"map_{LEVEL_OF_STRIDE[p.stride]}": p for p in found if p.stride in LEVEL_OF_STRIDE}
    return [*named.items(), *([("map", found[-1])] if found else [])]
