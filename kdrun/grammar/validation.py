"""What a ``train`` stage says of validation: which rows, which metrics, whose weights are kept, when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.objective import GOALS, Objective

__all__ = ["Validate", "parse_validate"]

WORDS = ("rows", "metrics", "every", "objective", "goal", "keep", "patience")
KEPT = ("last", "best")


@dataclass(frozen=True)
class Validate:
    """``rows``: the name under which they are handed in; ``every`` so many epochs, and after the last one.

    ``objective`` is a column of the metrics and which way is better. ``keep`` says whose weights the stage gives, and
    ``patience`` after how many validations without a better one training ends.
    """

    metrics: tuple[Mapping[str, Any], ...]
    rows: str = "valid"
    every: int = 1
    objective: Objective | None = None
    keep: str = "last"
    patience: int | None = None


def parse_validate(content: Any, *, key: str) -> Validate:
    """Read what stands under ``validate``, its metrics as mappings. Raises ``InputError``."""
    if not isinstance(content, Mapping) or not isinstance(content.get("metrics"), list) or not content["metrics"]:
        raise InputError("validate has metrics: {metrics: [accuracy], every: 1}", key=key)
    unknown = next((word for word in content if word not in WORDS), None)
    if unknown is not None:
        raise InputError(f"validate takes {', '.join(WORDS)}; no '{unknown}'{nearest(unknown, WORDS)}", key=key)
    given = {word: value for word, value in content.items() if value is not None}
    found = Validate(
        metrics=tuple(given["metrics"]),
        rows=str(given.get("rows", "valid")),
        every=_count(given.get("every", 1), f"{key}.every"),
        objective=_objective(given, key),
        keep=given.get("keep", "last"),
        patience=_count(given["patience"], f"{key}.patience") if "patience" in given else None,
    )
    if found.keep not in KEPT:
        raise InputError(f"the {' or the '.join(KEPT)} weights are kept, got {found.keep!r}", key=f"{key}.keep")
    if found.objective is None and (found.keep == "best" or found.patience is not None):
        raise InputError(
            "say which is better: objective: accuracy, or objective: nll and goal: minimize", key=f"{key}.objective"
        )
    return found


def _objective(given: Mapping[str, Any], key: str) -> Objective | None:
    goal = given.get("goal", "maximize")
    if goal not in GOALS:
        raise InputError(f"a goal is maximize or minimize, got {goal!r}{nearest(str(goal), GOALS)}", key=f"{key}.goal")
    return Objective(str(given["objective"]), goal) if "objective" in given else None


def _count(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"a whole number from 1 on, got {value!r}", key=key)
    return value
