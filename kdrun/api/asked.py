"""What a caller says: overrides as text or as a mapping, and the choices that have arguments of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from kdrun.config.experiment import Selection
from kdrun.config.layers import Override
from kdrun.errors import InputError

__all__ = ["Overrides", "merged", "selected"]

Overrides = Sequence[str] | Mapping[str, Any]
"""``["epochs=2", "optimizer.lr=0.1"]`` in the command line's grammar, or ``{"epochs": 2, "optimizer.lr": 0.1}``."""

ORIGIN = "override"
"""What messages call the place where a program says something."""


def selected(
    overrides: Overrides,
    *,
    arm: str | None = None,
    scale: str | None = None,
    seeds: int | Sequence[int] | None = None,
    **settings: Any,
) -> Selection:
    """Read what is said; ``settings`` are overrides by name, None standing for nothing said. Raises ``InputError``."""
    if isinstance(overrides, str):
        raise InputError(f"overrides are a list or a mapping: [{overrides!r}]")
    if isinstance(overrides, Mapping):
        words = {k: v for k, v in overrides.items() if k in ("arm", "scale", "seeds")}
        rest = tuple(_override(k, v) for k, v in overrides.items() if k not in words)
        found = Selection(rest, words.get("arm"), words.get("scale"), words.get("seeds"))
    else:
        found = Selection.of(list(overrides), ORIGIN)
    more = Selection((), arm, scale, _plain(seeds) if seeds is not None else None)
    settled = tuple(_override(name, _absolute(name, value)) for name, value in settings.items() if value is not None)
    return merged(replace(found, overrides=(*found.overrides, *settled)), more)


def merged(first: Selection, more: Selection) -> Selection:
    """What ``more`` says over what ``first`` said."""
    return Selection(
        (*first.overrides, *more.overrides),
        first.arm if more.arm is None else more.arm,
        first.scale if more.scale is None else more.scale,
        first.seeds if more.seeds is None else more.seeds,
    )


def _override(path: Any, value: Any) -> Override:
    if not isinstance(path, str):
        raise InputError(f"an override names a setting, got {path!r}")
    return Override(path, _plain(value), key=f"{path}={value}", origin=ORIGIN)


def _absolute(name: str, value: Any) -> Any:
    """Files and folders, wherever the process works later."""
    if name == "plugins":
        return [str(Path(p).absolute()) if str(p).endswith(".py") else str(p) for p in value]
    if name in ("store", "runs") and "://" not in str(value):
        return str(Path(value).expanduser().absolute())
    return value


def _plain(value: Any) -> Any:
    """The value as YAML could have said it. Raises ``InputError`` for one that it could not."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):  # NumPy's, too
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise InputError(f"an override is a number, text, a list or a mapping, got {value!r}")
