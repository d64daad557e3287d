"""The functions that ``${...}`` knows: ``${mul:${a},2}``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["FUNCTIONS"]


def _numbers(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, all of which are numbers. Raises ``TypeError``."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"expected numbers, got {value!r:.60}")
    return values


def _listed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, or those of the one list that they are. Raises ``TypeError`` for none and for what is no number."""
    given = tuple(values[0]) if len(values) == 1 and isinstance(values[0], list) else values
    if not given:
        raise TypeError("expected numbers, got none")
    return _numbers(given)


def _divided(values: tuple[Any, ...], by: Callable[[Any, Any], Any]) -> Any:
    if len(values) != 2:
        raise TypeError(f"expected two numbers, got {len(values)}")
    return by(*_numbers(values))


def _chosen(*values: Any) -> Any:
    if len(values) != 3:
        raise TypeError(f"expected a condition, a value and another one, got {len(values)} values")
    return values[1] if values[0] else values[2]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda *values: sum(_numbers(values)),
    "mul": lambda *values: math.prod(_numbers(values)),
    "div": lambda *values: _divided(values, lambda a, b: a / b),
    "floordiv": lambda *values: _divided(values, lambda a, b: a // b),
    "min": lambda *values: min(_listed(values)),
    "max": lambda *values: max(_listed(values)),
    "if": _chosen,
}
"""By name; each raises ``TypeError`` or ``ArithmeticError`` for what it cannot take."""
