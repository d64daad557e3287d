"""What a search chooses among, in Hydra's grammar: ``choice(a,b)``, ``range(1,9)``, ``interval(0,1)``, ``tag(log,interval(1e-4,1))``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from kdrun.config.messages import plain
from kdrun.errors import InputError
from kdrun.limits import refuse_beyond

__all__ = ["Knob", "parse_space"]


@dataclass(frozen=True)
class Knob:
    """A setting that is chosen: of ``choices``, as they are written, else of the whole or real numbers from ``low`` to ``high``.

    ``step`` is the distance of numbers that may be chosen, None of real ones that any may be; ``log``: their orders of magnitude
    are equally likely.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether it takes whole numbers alone."""
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)

    def override(self, value: Any) -> str:
        """What sets it. Raises ``InputError`` for a value that it does not take."""
        text = str(value) if self.choices else repr(int(value) if self.whole else float(value))
        if not (text in self.choices if self.choices else self.low <= value <= self.high):
            raise InputError(f"the study has {self.key}={text!r:.60}, not among what is searched", key=self.key)
        return f"{self.key}={text}"

    def values(self) -> list[Any]:
        """All that it takes, in order. Raises ``InputError`` where these are not counted."""
        if self.choices:
            return list(self.choices)
        if self.step is None:
            raise InputError(f"a grid goes by steps: give {self.key} as choice(...) or range(...)", key=self.key)
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return [self.low + i * self.step for i in range(count)]

    def first(self) -> Any:
        """One value that it takes."""
        return self.choices[0] if self.choices else self.low


def parse_space(
    texts: Sequence[str], params: Mapping[str, Any] | None, config_loader: Any
) -> tuple[list[Knob], list[str]]:
    """What is searched, and the overrides that all trials share; ``params`` are further ones by key, weaker than ``texts``.

    Raises ``InputError`` for what cannot be searched.
    """
    parser = OverridesParser.create(config_loader=config_loader)
    try:
        said = parser.parse_overrides([*(f"{key}={value}" for key, value in (params or {}).items()), *texts])
    except HydraException as error:
        raise InputError(plain(error)) from None
    found = {override.get_key_element(): override for override in said}
    knobs = [_knob(key, override) for key, override in found.items() if override.is_sweep_override()]
    if not knobs:
        raise InputError(
            "a search needs something to choose, as optimizer.lr='tag(log,interval(0.01,0.3))' or transfer=choice(kd,hint)"
        )
    fixed = [str(override.input_line) for override in found.values() if not override.is_sweep_override()]
    return knobs, fixed


def _knob(key: str, override: Override) -> Knob:
    if key.lstrip("+") == "seed":
        raise InputError("a search does not choose seeds: the luckiest says nothing; set seed=0", key="seed")
    value = override.value()
    log = "log" in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        return _number(key, value.start, value.end, 1 if isinstance(value.start, int) else None, log)
    if isinstance(value, RangeSweep):
        ends = value.range()
        if isinstance(ends, range):
            if not ends:
                raise InputError(f"'{override.input_line}' is empty", key=key)
            return _number(key, min(ends), max(ends), abs(ends.step), log)
        first, stop, step = float(ends.start), float(ends.stop), float(ends.step)
        last = first + (max(math.ceil((stop - first) / step - 1e-9), 1) - 1) * step
        low, high = sorted((first, last))
        return _number(key, low, high, None if log else abs(step), log)
    texts = tuple(dict.fromkeys(override.sweep_string_iterator()))
    refuse_beyond("jobs", len(texts), "values of a choice", key=key)
    return Knob(key, choices=texts)


def _number(key: str, low: Any, high: Any, step: float | None, log: bool) -> Knob:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"numbers are chosen from a lower to an upper end, got {low} to {high}", key=key)
    if log and (low <= 0 or step not in (None, 1)):
        raise InputError("orders of magnitude are those of numbers above 0, without steps", key=key)
    return Knob(key, low=low, high=high, step=step, log=log)
