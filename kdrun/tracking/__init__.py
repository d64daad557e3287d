"""Trackers: where figures go while a run is under way. None of them can break a run."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kdrun.registry.catalog import catalog
from kdrun.tracking.trackers import steps_told

__all__ = ["Fanout", "Tracker", "start_trackers"]


class Tracker(Protocol):
    """What a tracker part returns. Steps are counted within a stage."""

    def log(self, values: Mapping[str, float], step: int, stage: str) -> None: ...

    def finish(self, summary: Mapping[str, float]) -> None: ...


class Fanout:
    """Passes figures to several trackers, those of a stage's step once; a tracker that fails is warned about once and left out."""

    def __init__(self, trackers: list[Tracker], told: Iterable[tuple[str, int]] = ()) -> None:
        """``told``: stages and steps whose figures were passed on before."""
        self.trackers = trackers
        self.told = set(told)

    def log(self, values: Mapping[str, float], step: int, stage: str) -> None:
        if (stage, step) not in self.told:
            self.told.add((stage, step))
            self._each("log", values, step, stage)

    def finish(self, summary: Mapping[str, float]) -> None:
        self._each("finish", summary)

    def _each(self, method: str, *arguments: Any) -> None:
        for tracker in list(self.trackers):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:
                self.trackers.remove(tracker)
                warnings.warn(f"tracker {type(tracker).__name__} failed and is left out: {error}", stacklevel=2)


def start_trackers(config: Mapping[str, Any], folder: Path) -> Fanout:
    """Local records always, and the tracker that the config names beside them.

    Where the folder holds the records of a run that goes on, what they tell is not told again.
    """
    content = config.get("tracker") or {"tracker": "local"}
    names = list(dict.fromkeys(["local", content["tracker"]]))
    trackers = []
    told = steps_told(folder)
    for name in names:
        part = catalog().get("tracker", name, key="tracker.tracker")
        options = {k: v for k, v in content.items() if k != "tracker"} if name == content["tracker"] else {}
        function = part.load()
        part.validate(options, key="tracker")
        try:
            trackers.append(function(folder, dict(config), **options))
        except Exception as error:
            warnings.warn(f"tracker '{name}' cannot start and is left out: {error}", stacklevel=2)
    return Fanout(trackers, told)
