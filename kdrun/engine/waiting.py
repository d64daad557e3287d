"""Which run of a sweep comes next, so that no process waits for a stage that another one is at while there is other work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

__all__ = ["Waiting"]


class Waiting:
    """Runs that have not begun, by label, in their order, save that those go first that no running one is at work for.

    ``stages`` are the keys of each run's stages, and ``stored`` says whether the result of one is there. A run that shares a
    stage still to be computed with a running one would wait for it, as the arms of a sweep do for their teacher: it gives its
    place to the next that shares none. If there is no such run, the first one goes: it may have other work to do before.

    >>> waiting = Waiting(["kd", "hint", "labels"], {"kd": {"t", "a"}, "hint": {"t", "b"}, "labels": {"c"}}, lambda key: False)
    >>> waiting.next([]), waiting.next(["kd"]), waiting.next(["kd", "labels"]), len(waiting)
    ('kd', 'labels', 'hint', 0)
    """

    def __init__(
        self, labels: Sequence[str], stages: Mapping[str, Collection[str]], stored: Callable[[str], bool]
    ) -> None:
        self._labels = list(labels)
        self._stages = {label: frozenset(stages[label]) for label in labels}
        self._stored = stored

    def __len__(self) -> int:
        return len(self._labels)

    def next(self, running: Iterable[str]) -> str:
        """Take out the run to begin beside the ``running`` ones. Raises ``IndexError`` if none is left."""
        taken = frozenset[str]().union(*(self._stages[label] for label in running))
        place = next((i for i, label in enumerate(self._labels) if not self._waits(label, taken)), 0)
        return self._labels.pop(place)

    def _waits(self, label: str, taken: frozenset[str]) -> bool:
        return any(not self._stored(key) for key in self._stages[label] & taken)
