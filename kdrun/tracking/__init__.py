"""Trackers: where figures go while a run is under way. None of them can break a run."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kdrun.errors import InputError
from kdrun.registry.catalog import catalog
from kdrun.tracking.patience import Impatient
from kdrun.tracking.trackers import steps_told

__all__ = ["Fanout", "Tracker", "start_trackers"]


class Tracker(Protocol):
    """What a tracker part returns. Steps are counted within a stage."""

    def log(self, values: Mapping[str, float], step: int, stage: str) -> None: ...

    def finish(self, summary: Mapping[str, float]) -> None: ...


SECONDS = {"start": 60.0, "log": 5.0, "finish": 60.0}
"""How long a tracker may take for each call; one that takes longer is left out."""


class Fanout:
    """Passes figures to several trackers, those of a stage's step once; one that fails or hangs is warned about once and left out.

    Each tracker is called in a thread of its own, and waited for no longer than ``SECONDS`` say.
    """

    def __init__(self, trackers: list[Tracker], told: Iterable[tuple[str, int]] = ()) -> None:
        """``told``: stages and steps whose figures were passed on before."""
        self.told = set(told)
        self._threads: dict[int, Impatient] = {}
        self.trackers = list(trackers)

    def add(self, name: str, make: Callable[[], Tracker]) -> None:
        """Start one more; that it cannot start is warned about."""
        thread = Impatient(name)
        try:
            tracker = thread.call(make, SECONDS["start"])
        except Exception as error:
            thread.end()
            warnings.warn(f"tracker '{name}' cannot start and is left out: {error}", stacklevel=3)
            return
        self.trackers.append(tracker)
        self._threads[id(tracker)] = thread

    def log(self, values: Mapping[str, float], step: int, stage: str) -> None:
        if (stage, step) not in self.told:
            self.told.add((stage, step))
            self._each("log", values, step, stage)

    def finish(self, summary: Mapping[str, float]) -> None:
        self._each("finish", summary)
        for thread in self._threads.values():
            thread.end()
        self._threads.clear()

    def _each(self, method: str, *arguments: Any) -> None:
        for tracker in list(self.trackers):
            name = type(tracker).__name__
            if id(tracker) not in self._threads:
                self._threads[id(tracker)] = Impatient(name)
            thread = self._threads[id(tracker)]
            try:
                thread.call(functools.partial(getattr(tracker, method), *arguments), SECONDS[method])
            except Exception as error:
                self.trackers.remove(tracker)
                self._threads.pop(id(tracker)).end()
                warnings.warn(f"tracker {name} failed and is left out: {error}", stacklevel=2)


def start_trackers(config: Mapping[str, Any], folder: Path) -> Fanout:
    """Local records always, and beside them the tracker that the config names, and those under its ``also``.

    Where the folder holds the records of a run that goes on, what they tell is not told again. Raises ``InputError`` for a tracker that
    there is not, or that takes no such options.
    """
    content = config.get("tracker") or {"tracker": "local"}
    if not isinstance(content.get("tracker"), str):
        raise InputError("expected the name of a tracker: {tracker: local}", key="tracker.tracker")
    own = {k: v for k, v in content.items() if k not in ("tracker", "also")}
    wanted = {"local": {}, content["tracker"]: own, **_also(content.get("also"))}
    parts = {}
    for name, options in wanted.items():
        part = catalog().get("tracker", name, key="tracker.tracker")
        function = part.load()
        part.validate(options, key="tracker")
        parts[name] = functools.partial(function, folder, dict(config), **options)
    found = Fanout([], steps_told(folder))
    for name, make in parts.items():
        found.add(name, make)
    return found


def _also(content: Any) -> dict[str, dict[str, Any]]:
    """Further trackers: names, or mappings of a name and options. Raises ``InputError``."""
    found: dict[str, dict[str, Any]] = {}
    for one in content if isinstance(content, list) else [content] if content else []:
        options = {"tracker": one} if isinstance(one, str) else one
        if not isinstance(options, Mapping) or not isinstance(options.get("tracker"), str):
            raise InputError("also names trackers: [tensorboard, {tracker: mlflow, uri: FOLDER}]", key="tracker.also")
        found[options["tracker"]] = {k: v for k, v in options.items() if k != "tracker"}
    return found
