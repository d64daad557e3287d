"""Reading inner modules: a tap is a module path, its output or (``path:input``) its input, without editing the model."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kdrun.errors import InputError, nearest

__all__ = ["Slot", "resolve_tap", "tap"]


class Slot:
    """Holds what a tapped module saw last; reading it empties it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None

    def take(self) -> Any:
        value, self.value = self.value, None
        return value


def resolve_tap(module: nn.Module, path: str, *, key: str | None = None) -> tuple[nn.Module, bool]:
    """Return the submodule that ``path`` names and whether its input is meant.

    ``path`` is a module path, or a name from the model's ``tap_points`` (``feature``, ``map``, ``head``).
    Raises ``InputError`` with the nearest known name.
    """
    points: dict[str, str] = getattr(module, "tap_points", {})
    full = points.get(path, path)
    name, _, side = full.partition(":")
    if side not in ("", "input", "output"):
        raise InputError(f"a tap ends in :input or :output, got '{path}'", key=key)
    modules = dict(module.named_modules())
    if name not in modules:
        model = getattr(module, "kdrun_spec", {}).get("model", type(module).__name__)
        hint = nearest(path, [*points, *modules])
        names = f"; its named taps: {', '.join(points)}" if points else ""
        raise InputError(f"model '{model}' has no module '{path}'{hint}{names}", key=key)
    return modules[name], side == "input"


def tap(module: nn.Module, path: str, *, key: str | None = None) -> Slot:
    """Attach a hook that keeps what passes at ``path``, and return where it is kept."""
    inner, is_input = resolve_tap(module, path, key=key)
    slot = Slot()

    def read_input(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        slot.value = inputs[0]

    def read_output(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        slot.value = output[0] if isinstance(output, tuple) and isinstance(output[0], Tensor) else output

    if is_input:
        inner.register_forward_pre_hook(read_input)
    else:
        inner.register_forward_hook(read_output)
    return slot
