"""Laying out what inner modules give: tokens, maps with channels last and lists as maps [batch, channels, height, width]."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from kdrun.errors import InputError

__all__ = ["View", "grids", "patch_stride", "tokens_as_map"]

MOST_LEADING = 5
"""Tokens before those of patches: a class token and four registers."""

POOLED = 16
"""How much coarser than a model's patches the tokens of its later stages are taken to be at most, along a side."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class View:
    """What a tap gives of what a module gives.

    As a ``map`` [batch, channels, height, width], as ``tokens`` [batch, tokens, width] or as a ``row`` [batch, width], which a
    classifier by 1×1 convolution reads and gives as a map of one pixel. ``item`` of a list or tuple; ``stride``: pixels of the
    image from token to token, if the module's is known; ``patches``: that of the model's patches, of which later stages may
    have pooled some; ``channels_last``: maps are [batch, height, width, channels]; ``arrange`` brings a module's own order of
    tokens into that of the image first.
    """

    kind: Literal["map", "tokens", "row"]
    item: int = 0
    stride: Pair | None = None
    patches: Pair | None = None
    channels_last: bool = False
    arrange: Callable[[Tensor], Tensor] | None = None

    def of(self, given: Any, image: Pair | None) -> Tensor:
        """The value laid out; ``image``: height and width of what the model reads. Raises ``InputError`` for what it cannot be."""
        value = given[self.item] if isinstance(given, tuple | list) else given
        if not isinstance(value, Tensor):
            raise InputError(f"a tap reads a tensor, got {type(value).__name__}")
        value = self.arrange(value) if self.arrange else value
        if self.kind == "row":
            return _row(value)
        if self.kind == "tokens":
            return value.flatten(1, 2) if value.dim() == 4 and self.channels_last else value
        if value.dim() == 4 and self.channels_last:
            return value.permute(0, 3, 1, 2)
        if value.dim() == 4 and (self.stride or self.arrange):
            return value  # a level that is a map already
        return tokens_as_map(value, grids(image, self.stride, self.patches))

    def put(self, value: Any, given: Any) -> Any:
        """What the module would have given, ``given``, with ``value`` in the place of what is read of it.

        Raises ``InputError`` where that leaves something open, as the tokens of no patch beside a map.
        """
        if isinstance(given, tuple | list):
            return type(given)([self.put(value, inner) if i == self.item else inner for i, inner in enumerate(given)])
        before = given.dim() if isinstance(given, Tensor) else 0
        if self.arrange or (self.kind == "map" and before != 4):
            raise InputError(
                "a map of tokens cannot be put back, nor can tokens in another order: patch the module's own path"
            )
        if self.kind == "row" and before == 4:
            return value[:, :, None, None]
        if self.kind == "tokens" and before == 4:
            return value.unflatten(1, given.shape[1:3])
        return value.permute(0, 2, 3, 1) if self.kind == "map" and self.channels_last else value


def _row(value: Tensor) -> Tensor:
    if value.dim() == 4 and value.shape[2:] == (1, 1):
        return value.flatten(1)
    if value.dim() != 2:
        raise InputError(f"what a classifier reads or gives is [batch, width], got {list(value.shape)}")
    return value


def tokens_as_map(tokens: Tensor, grids: Iterable[Pair]) -> Tensor:
    """Patch tokens [batch, count, dim] as a map [batch, dim, height, width]; leading tokens, of no patch, are left out.

    ``grids`` are the heights and widths that the patches may have, the first that fits with up to 5 tokens before is taken: a
    class token and four registers. Raises ``InputError`` if none does.
    """
    if tokens.dim() != 3:
        raise InputError(f"a :map tap reads tokens [batch, count, dim], got {list(tokens.shape)}")
    count = tokens.shape[1]
    tried = list(dict.fromkeys(grids))
    fitting = [(h, w) for h, w in tried if h * w and 0 <= count - h * w <= MOST_LEADING]
    if not fitting:
        known = " or ".join(f"{h}×{w}" for h, w in tried[:3]) or "unknown"
        raise InputError(
            f"a :map tap reads the patches of a grid, behind {MOST_LEADING} other tokens at most; got {count} tokens, the grid is {known}"
        )
    height, width = fitting[0]
    return tokens[:, count - height * width :].transpose(1, 2).unflatten(2, (height, width))


def grids(image: Pair | None, stride: Pair | None = None, patches: Pair | None = None) -> Sequence[Pair]:
    """The heights and widths that a map of an image [height, width] may have, the likeliest first.

    Of a known ``stride`` it is the one that the image has; of known ``patches``, in pixels, also one of 2, 4, 8 or 16 times as
    few along a side. Of neither, any that is shaped as the image, the largest first.
    """
    if image is None:
        return []
    if stride is not None:
        return _of_stride(image, stride, 1)
    if patches is not None:
        return [grid for k in range(POOLED.bit_length()) for grid in _of_stride(image, patches, 2**k)]
    common = math.gcd(*image)
    return [(image[0] // common * k, image[1] // common * k) for k in range(common, 0, -1)]


def _of_stride(image: Pair, stride: Pair, times: int) -> list[Pair]:
    """Sizes of a map at a stride: rounded up where borders are padded, down where they are left out."""
    up, down = ([_part(n, s * times, rounded) for n, s in zip(image, stride, strict=True)] for rounded in (True, False))
    return [(up[0], up[1]), (down[0], down[1])]


def _part(length: int, step: int, rounded_up: bool) -> int:
    return -(-length // step) if rounded_up else length // step


def patch_stride(module: nn.Module) -> Pair | None:
    """Height and width of patches in pixels, where a model says them: timm's images and grids, others' ``patch_size``."""
    for inner in module.modules():
        grid, image, patch = (_pair(getattr(inner, name, None)) for name in ("grid_size", "img_size", "patch_size"))
        if grid and image and all(grid):
            return image[0] // grid[0], image[1] // grid[1]
        if patch:
            return patch
    return None


def _pair(size: Any) -> Pair | None:
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, tuple | list) and len(size) == 2 else None
