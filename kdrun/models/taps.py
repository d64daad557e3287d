"""Reading inner modules without editing the model.

A tap is a module path: its output, its input (``path:input``), or its output tokens laid out as a map (``path:map``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from kdrun.errors import InputError, nearest

__all__ = [
    "Detour",
    "Slot",
    "WatchedSlot",
    "inner_module",
    "level_taps",
    "patch_grid",
    "resolve_tap",
    "tap",
    "tokens_as_map",
]

MOST_LEADING = 5
"""Tokens before those of patches: a class token and four registers."""


def level_taps(paths: Sequence[str], before_relu: Sequence[str] = ()) -> dict[str, str]:
    """The tap points of a classifier: its head, what that reads, its levels, and what their last ReLUs read."""
    named = {f"map_{i}": path for i, path in enumerate(paths, 1)}
    early = {f"map_{i}_pre": path for i, path in enumerate(before_relu, 1)}
    return {"feature": "head:input", "head": "head", **({"map": paths[-1]} if paths else {}), **named, **early}


class Slot:
    """Holds what a tapped module saw last; reading it empties it. ``copies``: of values that what comes after changes in place."""

    __slots__ = ("copies", "value")

    def __init__(self, *, copies: bool = False) -> None:
        self.copies = copies
        self.value: Any = None

    def put(self, value: Any) -> None:
        self.value = value.clone() if self.copies and isinstance(value, Tensor) else value

    def take(self) -> Any:
        value, self.value = self.value, None
        return value


class WatchedSlot(Slot):
    """A slot that sees how often it was filled, and whether its value was changed in place since then."""

    __slots__ = ("filled", "version")

    def __init__(self) -> None:
        super().__init__()
        self.filled, self.version = 0, 0

    def put(self, value: Any) -> None:
        super().put(value)
        self.filled += 1
        self.version = self.value._version if isinstance(self.value, Tensor) else 0

    def take(self) -> Any:
        self.filled = 0
        return super().take()

    def spoilt(self) -> bool:
        """Whether the value is no longer what passed. It is to be copied, and the call to be made again."""
        return isinstance(self.value, Tensor) and self.value._version != self.version

    def check(self, path: str, *, key: str | None = None) -> None:
        """Raise ``InputError`` if the module ran several times in one call."""
        if self.filled > 1:
            raise InputError(
                f"'{path}' runs {self.filled} times in one call, so a tap of it is not one value: tap a module that runs once",
                key=key,
            )


def resolve_tap(module: nn.Module, path: str, *, key: str | None = None) -> tuple[nn.Module, str]:
    """Return the submodule that ``path`` names, and ``input``, ``output`` or ``map``.

    ``path`` is a module path, or a name from the model's ``tap_points`` (``feature``, ``map``, ``head``).
    Raises ``InputError`` with the nearest known name.
    """
    points: dict[str, str] = getattr(module, "tap_points", {})
    full = points.get(path, path)
    name, _, side = full.partition(":")
    if side not in ("", "input", "output", "map"):
        raise InputError(f"a tap ends in :input, :output or :map, got '{path}'", key=key)
    modules = dict(module.named_modules())
    if name not in modules:
        model = getattr(module, "kdrun_spec", {}).get("model", type(module).__name__)
        hint = nearest(path, [*points, *modules])
        names = f"; its named taps: {', '.join(points)}" if points else ""
        raise InputError(f"model '{model}' has no module '{path}'{hint}{names}", key=key)
    return modules[name], side or "output"


def inner_module(module: nn.Module, path: str, *, key: str | None = None) -> tuple[nn.Module, str]:
    """The submodule that ``path`` names, to be called by itself, and the prefix of its parameters' names.

    ``path`` is a module path or a named point; empty for the model itself. Raises ``InputError`` for an unknown one.
    """
    if not path:
        return module, ""
    inner, side = resolve_tap(module, path, key=key)
    if side != "output":
        raise InputError(f"'{path}' is no module but what one reads or a view of it", key=key)
    return inner, next(name for name, found in module.named_modules() if found is inner) + "."


def tokens_as_map(tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
    """Patch tokens [batch, count, dim] as a map [batch, dim, height, width]; leading tokens, of no patch, are left out.

    ``grid`` is the height and width that the model knows; where it has none, or one that the tokens do not fill, as
    behind a pooling, the map is square. Raises ``InputError`` for what is neither, with up to 5 leading tokens: a class
    token and four registers.
    """
    if tokens.dim() != 3:
        raise InputError(f"a :map tap reads tokens [batch, count, dim], got {list(tokens.shape)}")
    count = tokens.shape[1]
    side = math.isqrt(count)
    fitting = [(h, w) for h, w in (grid or (side, side), (side, side)) if h * w and 0 <= count - h * w <= MOST_LEADING]
    if not fitting:
        known = f" or of the model's grid of {grid[0]}×{grid[1]}" if grid else ""
        raise InputError(
            f"a :map tap reads the patches of a square{known}, behind {MOST_LEADING} other tokens at most; got {count} tokens"
        )
    height, width = fitting[0]
    return tokens[:, count - height * width :].transpose(1, 2).unflatten(2, (height, width))


def patch_grid(module: nn.Module) -> tuple[int, int] | None:
    """Rows and columns of patches, where a model says them: timm's ``grid_size``, others' sizes of images and patches."""
    for inner in module.modules():
        grid = getattr(inner, "grid_size", None)
        image, patch = (_pair(getattr(inner, name, None)) for name in ("image_size", "patch_size"))
        if isinstance(grid, tuple) and len(grid) == 2:
            return int(grid[0]), int(grid[1])
        if image and patch:
            return image[0] // patch[0], image[1] // patch[1]
    return None


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, tuple | list) and len(size) == 2 else None


def tap(module: nn.Module, path: str, slot: Slot | None = None, *, key: str | None = None) -> Slot:
    """Attach a hook that keeps what passes at ``path`` in ``slot``, a new one unless given; return it."""
    inner, side = resolve_tap(module, path, key=key)
    slot = Slot() if slot is None else slot
    grid = patch_grid(module) if side == "map" else None

    def read_input(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        slot.put(inputs[0])

    def read_output(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        value = output[0] if isinstance(output, tuple) and isinstance(output[0], Tensor) else output
        slot.put(tokens_as_map(value, grid) if side == "map" else value)

    if side == "input":
        inner.register_forward_pre_hook(read_input)
    else:
        inner.register_forward_hook(read_output)
    return slot


class _Reached(Exception):
    def __init__(self, output: Any) -> None:
        self.output = output


class Detour:
    """A partial forward: inner modules whose outputs are given (``patch``), and one where the call ends (``until``).

    Patched and stopping modules behave as always outside ``run``.
    """

    def __init__(self, module: nn.Module, patch: Sequence[str], until: str | None, *, key: str) -> None:
        self._given: list[Any] = [None] * len(patch)
        self._armed = False
        for i, path in enumerate(patch):
            inner, side = resolve_tap(module, path, key=f"{key}.patch")
            if side == "map":
                raise InputError(f"'{path}' is a view of tokens: patch the tokens themselves", key=f"{key}.patch")
            if side == "input":
                inner.register_forward_pre_hook(self._replace_input(i))
            else:
                inner.register_forward_hook(self._replace_output(i))
        if until is not None:
            inner, side = resolve_tap(module, until, key=f"{key}.until")
            self._grid = patch_grid(module) if side == "map" else None
            if side == "input":
                inner.register_forward_pre_hook(self._stop_at_input)
            else:
                inner.register_forward_hook(self._stop_at_map if side == "map" else self._stop)

    def run(self, target: Callable[..., Any], inputs: Sequence[Any], options: dict[str, Any]) -> Any:
        """Call ``target`` on the leading inputs; the last ones are what the patched modules give."""
        count = len(inputs) - len(self._given)
        self._given[:] = inputs[count:]
        self._armed = True
        try:
            return target(*inputs[:count], **options)
        except _Reached as reached:
            return reached.output
        finally:
            self._armed = False
            self._given[:] = [None] * len(self._given)

    def _replace_output(self, place: int) -> Callable[..., Any]:
        return lambda _, __, ___: self._given[place] if self._armed else None

    def _replace_input(self, place: int) -> Callable[..., Any]:
        return lambda _, inputs: (self._given[place], *inputs[1:]) if self._armed else None

    def _stop(self, _: nn.Module, __: Any, output: Any) -> None:
        if self._armed:
            raise _Reached(output)

    def _stop_at_map(self, _: nn.Module, __: Any, output: Tensor) -> None:
        if self._armed:
            raise _Reached(tokens_as_map(output, self._grid))

    def _stop_at_input(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._armed:
            raise _Reached(inputs[0])
