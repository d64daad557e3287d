"""Choosing and ordering the records of runs: conditions on what they say, and the best first."""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdrun.config.files import read
from kdrun.engine.records import recorded_runs
from kdrun.errors import InputError, KdrunError, nearest
from kdrun.grammar.measurements import look_up

__all__ = ["RecordedRun", "best_first", "chosen_runs", "flat", "is_lowest_best", "metrics_of_runs"]

ABOUT = ("recipe", "arm", "scale", "method", "seed", "state", "error", "started", "machine", "seconds", "folder")
"""What may be asked of any run, beside its metrics and its settings."""

CONDITION = re.compile(r"(?P<field>[\w./\[\]@+-]+)(?P<sign><=|>=|!=|=|<|>)(?P<value>.*)", re.DOTALL)

SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """A run's folder and its record, as ``read_record`` gives it."""

    folder: Path
    record: Mapping[str, Any]

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The run's configuration by dotted name; empty where it cannot be read."""
        try:
            return flat(read(self.folder / "config.yaml").content)
        except (KdrunError, RecursionError):
            return {}

    @property
    def metrics(self) -> Mapping[str, float]:
        """Its numbers by label."""
        found: Mapping[str, float] = self.record["metrics"]
        return found

    def about(self) -> dict[str, Any]:
        """What ``ABOUT`` names, None where the record is silent; ``seconds`` are those of all stages that were computed."""
        seconds = self.record.get("seconds")
        spent = [s for s in seconds.values() if isinstance(s, int | float)] if isinstance(seconds, Mapping) else []
        named = {name: self.record.get(name) for name in ABOUT}
        return {**named, "seconds": sum(spent), "folder": self.folder.as_posix()}

    def value(self, field: str) -> Any:
        """A metric, something of ``ABOUT``, or a setting; None if the run has none of that name."""
        if field in self.metrics:
            return self.metrics[field]
        return self.about()[field] if field in ABOUT else self.settings.get(field)


def flat(content: Any, before: str = "") -> dict[str, Any]:
    """A nested mapping as one from dotted name to value; lists stay whole."""
    if not isinstance(content, Mapping):
        return {before: content}
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, f"{before}.{name}" if before else str(name))
    return found


def chosen_runs(root: str | Path, words: Sequence[str] = ()) -> list[RecordedRun]:
    """The runs under ``root`` of which all words hold, oldest first of a recipe.

    A word is a condition (``arm=kd``, ``test.accuracy>0.9``, ``optimizer.lr<=0.1``, ``state!=finished``) or text that the folder,
    the recipe, the state or what was overridden contains. Raises ``InputError`` for a condition on what no run has.
    """
    runs = [RecordedRun(folder, record) for folder, record in recorded_runs(root)]
    found = runs
    for word in words:
        condition = CONDITION.fullmatch(word)
        if condition is None:
            found = [run for run in found if word in _text(run)]
            continue
        _refuse_unknown(condition["field"], runs)
        found = [run for run in found if _holds(run.value(condition["field"]), condition["sign"], condition["value"])]
    return found


def _text(run: RecordedRun) -> str:
    return " ".join([str(run.folder), str(run.record["recipe"]), run.record["state"], *run.record["overrides"]])


def _refuse_unknown(field: str, runs: Sequence[RecordedRun]) -> None:
    if not runs or field in ABOUT or any(field in run.metrics or field in run.settings for run in runs):
        return
    known = {*ABOUT, *metrics_of_runs(runs), *(name for run in runs for name in run.settings)}
    raise InputError(
        f"no run has '{field}'{nearest(field, known)}; there are: {', '.join(ABOUT)}, metrics and settings"
    )


def _holds(value: Any, sign: str, wanted: str) -> bool:
    """Compared as numbers where both are; a name also equals its last part (``kd`` and ``distillation/kd``)."""
    if value is None:
        return sign == "!="
    number = _number(wanted)
    if isinstance(value, int | float) and not isinstance(value, bool) and number is not None:
        return SIGNS[sign](value, number)
    told = str(value).lower() if isinstance(value, bool) else str(value)
    if sign in ("=", "!="):
        return (wanted in (told, told.rpartition("/")[2])) == (sign == "=")
    return SIGNS[sign](told, wanted)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def metrics_of_runs(runs: Iterable[RecordedRun]) -> list[str]:
    """The labels of all that the runs measured, sorted."""
    return sorted({metric for run in runs for metric in run.metrics})


def is_lowest_best(metric: str, runs: Iterable[RecordedRun]) -> bool:
    """Whether less of a metric is better: it is some run's objective to minimize it, or nobody's objective and its part says so."""
    runs = list(runs)
    objectives = [run.record.get("objective") or {} for run in runs]
    goals = {objective.get("goal") for objective in objectives if objective.get("metric") == metric} - {None}
    return "minimize" in goals if goals else any(metric in (run.record.get("lowest") or ()) for run in runs)


def best_first(runs: Sequence[RecordedRun], metric: str) -> list[RecordedRun]:
    """By a metric, in its own direction; runs that did not measure it come last. Raises ``InputError`` if none did."""
    look_up(metric, metrics_of_runs(runs), what="no run measured")
    sign = 1 if is_lowest_best(metric, runs) else -1

    def place(run: RecordedRun) -> float:
        value = run.metrics.get(metric, math.nan)
        return math.inf if math.isnan(value) else sign * value

    return sorted(runs, key=place)
