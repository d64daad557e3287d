"""What is tuned, alike for all arms: ``tune: {knob: optimizer.lr, values: [0.01, 0.1], objective: valid.accuracy, seeds: [0-2]}``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.objective import Objective, parse_objective
from kdrun.limits import refuse_beyond

__all__ = ["Tuning", "parse_tuning"]

WORDS = ("knob", "values", "objective", "seeds", "arms")


@dataclass(frozen=True)
class Tuning:
    """The setting ``knob`` gets, arm by arm, that of ``values`` with which the mean of the ``objective`` over ``seeds`` is best."""

    knob: str
    values: tuple[Any, ...]
    objective: Objective
    seeds: tuple[int, ...]
    arms: tuple[str, ...]


def parse_tuning(content: Any, arms: Sequence[str]) -> Tuning | None:
    """Read what stands under ``tune``; None if nothing does. Raises ``InputError``."""
    if content is None:
        return None
    if not isinstance(content, Mapping):
        raise InputError("tune reads {knob: SETTING, values: [...], objective: METRIC, seeds: [...]}", key="tune")
    unknown = [str(word) for word in content if word not in WORDS]
    if unknown:
        raise InputError(f"tune has no '{unknown[0]}'{nearest(unknown[0], WORDS)}", key=f"tune.{unknown[0]}")
    missing = [word for word in WORDS[:4] if content.get(word) is None]
    if missing:
        raise InputError(
            f"tune lacks '{missing[0]}': {{knob: SETTING, values: [...], objective: METRIC, seeds: [...]}}", key="tune"
        )
    knob, values = content["knob"], content["values"]
    if not isinstance(knob, str) or not re.fullmatch(r"[^\W\d][\w+-]*(\.[\w+-]+)*", knob):
        raise InputError(f"knob names a setting, such as optimizer.lr, got {knob!r:.60}", key="tune.knob")
    if not isinstance(values, list) or len(values) < 2 or any(values.count(value) > 1 for value in values):
        raise InputError("values lists at least two different ones", key="tune.values")
    objective = parse_objective(content["objective"])
    assert objective is not None
    return Tuning(knob, tuple(values), objective, _seeds(content["seeds"]), _arms(content.get("arms"), arms))


def _seeds(content: Any) -> tuple[int, ...]:
    """Seeds and ranges with both ends: ``[3, 10-19]``."""
    found: list[int] = []
    for entry in content if isinstance(content, list) else [None]:
        ends = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", str(entry))
        if ends is None or isinstance(entry, bool):
            raise InputError("seeds lists the seeds to tune at, such as [0, 1] or [0-4]", key="tune.seeds")
        low, high = int(ends[1]), int(ends[2] or ends[1])
        refuse_beyond("seeds", high - low + 1, "seeds", key="tune.seeds")
        found += range(low, high + 1)
    if not found:
        raise InputError("at least one seed is needed", key="tune.seeds")
    return tuple(dict.fromkeys(found))


def _arms(content: Any, arms: Sequence[str]) -> tuple[str, ...]:
    if content is None:
        return tuple(arms)
    for arm in content if isinstance(content, list) else [content]:
        if arm not in arms:
            raise InputError(f"there is no arm '{arm}'{nearest(str(arm), arms)}", key="tune.arms")
    return tuple(content)
