"""What a run is to be good at: ``objective: valid.accuracy``, or ``{metric: valid.perplexity, goal: minimize}``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdrun.errors import InputError, nearest

__all__ = ["GOALS", "Objective", "parse_objective"]

GOALS = ("maximize", "minimize")


@dataclass(frozen=True)
class Objective:
    """The label of a metric and which way is better; ``goal`` is None where nobody said."""

    metric: str
    goal: str | None = "maximize"

    def __str__(self) -> str:
        return f"{self.goal} {self.metric}" if self.goal else self.metric


def parse_objective(content: Any) -> Objective | None:
    """Read what stands under ``objective``; None if nothing does. Raises ``InputError``."""
    if content is None:
        return None
    if isinstance(content, str):
        return Objective(content)
    if not isinstance(content, Mapping) or not isinstance(content.get("metric"), str):
        raise InputError("an objective reads METRIC or {metric: METRIC, goal: minimize}", key="objective")
    unknown = [word for word in content if word not in ("metric", "goal")]
    if unknown:
        raise InputError(f"an objective has a metric and a goal, no '{unknown[0]}'", key=f"objective.{unknown[0]}")
    goal = content.get("goal", "maximize")
    if goal not in GOALS:
        raise InputError(f"a goal is maximize or minimize, got {goal!r}{nearest(goal, GOALS)}", key="objective.goal")
    return Objective(content["metric"], goal)
