"""What the words of a multirun stand for, counted before any job is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, RangeSweep
from hydra.errors import HydraException

from kdrun.errors import InputError
from kdrun.limits import refuse_beyond

__all__ = ["refuse_empty_glob", "refuse_many"]


def refuse_many(texts: Sequence[str]) -> None:
    """Count the jobs of a multirun before any is made. Raises ``InputError``; what Hydra cannot read is told by Hydra."""
    count = 1
    for text in texts:
        try:
            sweep = OverridesParser.create().parse_override(text).value()
        except HydraException:
            continue
        count *= max(_values_of(sweep), 1)
        refuse_beyond("jobs", count, "jobs of a multirun", key=text[:60])


def _values_of(sweep: Any) -> int:
    """How many values a choice or a range stands for; 1 of anything else."""
    if isinstance(sweep, ChoiceSweep):
        return sum(_values_of(value) for value in sweep.list)
    if isinstance(sweep, RangeSweep):
        if not sweep.step:
            raise InputError("a range goes by steps other than 0")
        if not all(math.isfinite(end) for end in (sweep.start or 0, sweep.stop or 0, sweep.step)):
            raise InputError("a range has a beginning and an end")
        return math.ceil(abs((sweep.stop or 0) - (sweep.start or 0)) / abs(sweep.step))
    return 1


def refuse_empty_glob(override: Any) -> None:
    """A pattern that no option matches would run nothing, without a word."""
    if override.is_sweep_override() and not override.is_discrete_sweep():
        return
    try:
        empty = override.is_sweep_override() and next(iter(override.sweep_string_iterator()), None) is None
    except ValueError as error:
        raise InputError(f"cannot read '{override.input_line}': {error}", key=override.key_or_group) from None
    if empty:
        raise InputError(f"'{override.input_line}' matches no option", key=override.key_or_group)
