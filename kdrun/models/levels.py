"""Named taps of models from libraries: levels by stride, the classifier and what it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

__all__ = ["classifier", "last_linear", "levels_by_stride", "with_points"]

LEVEL_OF_STRIDE = {4: 1, 8: 2, 16: 3, 32: 4, 64: 5}
"""``map_1`` is at stride 4 in every family, so that what a stem keeps at stride 1 or 2 never shifts the count."""


def last_linear(module: nn.Module) -> str | None:
    names = [n for n, m in module.named_modules() if isinstance(m, nn.Linear)]
    return names[-1] if names else None


def classifier(module: nn.Module) -> str | None:
    """The path of the classifier: as the library names it, else the last linear layer.

    The first one where several heads share a network, as in distilled transformers. None for a convolution, which
    reads and gives maps.
    """
    ask: Any = getattr(module, "get_classifier", None)
    given = ask() if callable(ask) else None
    first = given[0] if isinstance(given, tuple | list | nn.ModuleList) and len(given) else given
    path = next((name for name, inner in module.named_modules() if inner is first), None)
    if path is None:
        return last_linear(module)
    return None if isinstance(first, nn.Conv2d) else path


def levels_by_stride(module: nn.Module, described: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """``map_1`` (stride 4) to ``map_5`` (stride 64), the deepest of each stride, and ``map``, the last of all.

    ``described`` has each level's ``module`` and ``reduction``. Where all blocks keep one stride, as in a plain vision
    transformer, ``map_i`` counts the blocks.
    """
    modules = dict(module.named_modules())
    found = [(str(entry["module"]), int(entry["reduction"])) for entry in described if entry["module"] in modules]
    if not found:
        return {}
    if len({stride for _, stride in found}) == 1 and len(found) > 1:
        named = {f"map_{i}": path for i, (path, _) in enumerate(found, 1)}
    else:
        named = {f"map_{LEVEL_OF_STRIDE[stride]}": path for path, stride in found if stride in LEVEL_OF_STRIDE}
    return {**named, "map": found[-1][0]}


def with_points(module: nn.Module, levels: Mapping[str, str]) -> nn.Module:
    """Attach named taps: the head, its input, and ``levels``."""
    head = classifier(module)
    points = {"head": head, "feature": f"{head}:input"} if head else {}
    object.__setattr__(module, "tap_points", {**points, **levels})
    return module
