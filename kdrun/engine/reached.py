"""The one number by which a run is compared with other runs: its objective, and what was reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdrun.grammar.measurements import Measurements, look_up
from kdrun.grammar.objective import Objective, parse_objective

__all__ = ["Reached", "reached"]

DEFAULT_TABLE = "valid"
"""Where no objective is stated, the first number of this table is taken."""


@dataclass(frozen=True)
class Reached:
    """An objective and its value. ``note`` says how it was chosen where nobody stated it and there was a choice."""

    objective: Objective
    value: float
    note: str = ""


def reached(config: Mapping[str, Any], metrics: Measurements) -> Reached | None:
    """The value of the stated objective, else of the first number in the table ``valid``; None without either.

    Raises ``InputError`` (key ``objective``) if nothing measured what is stated.
    """
    stated = parse_objective(config.get("objective"))
    if stated is not None:
        look_up(stated.metric, metrics, what="nothing measures", key="objective")
        return Reached(stated, metrics[stated.metric])
    found = [record for record in metrics.records if record.table == DEFAULT_TABLE]
    if not found:
        return None
    first = found[0]
    note = f"no objective is stated: the first of {len(found)} numbers in '{DEFAULT_TABLE}'" if len(found) > 1 else ""
    return Reached(Objective(first.label, None), first.value, note)
