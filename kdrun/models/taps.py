"""Reading inner modules without editing the model.

A tap is a module path: its output, its input (``path:input``), or its output laid out as a map (``path:map``: tokens, or a map
with channels last). Models give some of them names, and say how these are laid out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kdrun.errors import InputError, nearest
from kdrun.models.layouts import View, patch_stride
from kdrun.models.lowering import full_precision

__all__ = [
    "Detour",
    "Slot",
    "TapPoint",
    "WatchedSlot",
    "inner_module",
    "level_taps",
    "place_of",
    "resolve_tap",
    "tap",
    "tap_point",
]


def level_taps(paths: Sequence[str], before_relu: Sequence[str] = ()) -> dict[str, str]:
    """The tap points of a classifier: its head, what that reads, its levels, and what their last ReLUs read."""
    named = {f"map_{i}": path for i, path in enumerate(paths, 1)}
    early = {f"map_{i}_pre": path for i, path in enumerate(before_relu, 1)}
    return {"feature": "head:input", "head": "head", **({"map": paths[-1]} if paths else {}), **named, **early}


class Slot:
    """Holds what a tapped module saw last; reading it empties it.

    ``copies``: of values that what comes after changes in place; ``full``: in float32, of a model that computes in less.
    """

    __slots__ = ("copies", "full", "value")

    def __init__(self, *, copies: bool = False, full: bool = False) -> None:
        self.copies, self.full = copies, full
        self.value: Any = None

    def put(self, value: Any) -> None:
        value = full_precision(value) if self.full else value
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


@dataclass(frozen=True)
class TapPoint:
    """Where a tap reads: a module, its ``input`` or ``output``, and how the value is laid out, if otherwise than it is there."""

    module: nn.Module
    side: str
    view: View | None = None


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


def tap_point(module: nn.Module, path: str, *, key: str | None = None) -> TapPoint:
    """Where the tap ``path`` reads, and how the value is laid out; a model's ``tap_views`` say it of the taps that it names.

    Raises ``InputError`` with the nearest known name.
    """
    inner, side = resolve_tap(module, path, key=key)
    points: dict[str, str] = getattr(module, "tap_points", {})
    view = _named_view(module, path, points.get(path, path))
    if view is None and side == "map":
        last = getattr(module, "tap_channels_last", False)
        view = View("map", patches=patch_stride(module), channels_last=last)
    return TapPoint(inner, "input" if side == "input" else "output", view)


def place_of(module: nn.Module, path: str) -> str:
    """What a tap reads, in words that are the same for all its names: the module's path, the side, and how the value is laid out."""
    points: dict[str, str] = getattr(module, "tap_points", {})
    point = tap_point(module, path)
    return f"{points.get(path, path).partition(':')[0]}:{point.side} {point.view}"


def _named_view(module: nn.Module, path: str, full: str) -> View | None:
    """How a model lays out the tap that it names so; the model may stand in another, under the same names."""
    for place, inner in module.named_modules():
        views: dict[str, View] = getattr(inner, "tap_views", {})
        if path in views and full == f"{place}.{inner.tap_points[path]}".lstrip("."):
            return views[path]
    return None


def inner_module(module: nn.Module, path: str, *, key: str | None = None) -> nn.Module:
    """The submodule that ``path`` names, to be called by itself.

    ``path`` is a module path or a named point; empty for the model itself. Raises ``InputError`` for an unknown one.
    """
    if not path:
        return module
    inner, side = resolve_tap(module, path, key=key)
    if side != "output":
        raise InputError(f"'{path}' is no module but what one reads or a view of it", key=key)
    return inner


class _Frame:
    """Height and width of the images that a model is reading."""

    def __init__(self, module: nn.Module) -> None:
        self.size: tuple[int, int] | None = None
        module.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _: nn.Module, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        first = next((v for v in (*inputs, *options.values()) if isinstance(v, Tensor)), None)
        self.size = (int(first.shape[2]), int(first.shape[3])) if first is not None and first.dim() == 4 else None


def _reader(module: nn.Module, point: TapPoint) -> Callable[[Any], Any]:
    """What a tap gives of what passes at its point."""
    view = point.view
    if view is None:
        return lambda value: value[0] if isinstance(value, tuple) and isinstance(value[0], Tensor) else value
    frame = _Frame(module) if view.kind == "map" else None
    return lambda value: view.of(value, frame.size if frame else None)


def tap(module: nn.Module, path: str, slot: Slot | None = None, *, key: str | None = None) -> Slot:
    """Attach a hook that keeps what passes at ``path`` in ``slot``, a new one unless given; return it."""
    point = tap_point(module, path, key=key)
    slot = Slot() if slot is None else slot
    read = _reader(module, point)

    def read_input(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        slot.put(read(inputs[0]))

    def read_output(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        slot.put(read(output))

    if point.side == "input":
        point.module.register_forward_pre_hook(read_input)
    else:
        point.module.register_forward_hook(read_output)
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
            if resolve_tap(module, path, key=f"{key}.patch")[1] == "map":
                raise InputError(f"'{path}' is a view of tokens: patch the tokens themselves", key=f"{key}.patch")
            point = tap_point(module, path, key=f"{key}.patch")
            if point.side == "input":
                point.module.register_forward_pre_hook(self._replace_input(i, point.view))
            else:
                point.module.register_forward_hook(self._replace_output(i, point.view))
        if until is not None:
            point = tap_point(module, until, key=f"{key}.until")
            self._read = _reader(module, point) if point.view else lambda value: value
            if point.side == "input":
                point.module.register_forward_pre_hook(self._stop_at_input)
            else:
                point.module.register_forward_hook(self._stop)

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

    def _replace_output(self, place: int, view: View | None) -> Callable[..., Any]:
        return lambda _, __, output: self._value(place, view, output) if self._armed else None

    def _replace_input(self, place: int, view: View | None) -> Callable[..., Any]:
        return lambda _, inputs: (self._value(place, view, inputs[0]), *inputs[1:]) if self._armed else None

    def _value(self, place: int, view: View | None, given: Any) -> Any:
        return view.put(self._given[place], given) if view else self._given[place]

    def _stop(self, _: nn.Module, __: Any, output: Any) -> None:
        if self._armed:
            raise _Reached(self._read(output))

    def _stop_at_input(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._armed:
            raise _Reached(self._read(inputs[0]))
