"""Which run of a sweep comes next, so that no process waits for a stage that another one is at while there is other work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Waiting"]


class Waiting:
    """Runs that have not begun, by label, in their order, save that those go first that no running one is at work for.

    ``stages`` are the keys of each run's stages, in the order in which they are computed, and ``stored`` says whether the result of
    one is there. A run is at the first of its stages that is not. One that shares a stage still to be computed with a running one
    gives its place to the next that shares none. If there is no such run, the first one goes whose next stage no running one is at.

    >>> stages = {"kd": ["t", "a"], "hint": ["t", "b"], "labels": ["c"]}
    >>> waiting = Waiting(list(stages), stages, lambda key: False)
    >>> waiting.next([]), waiting.next(["kd"]), waiting.next(["kd", "labels"]), waiting.next(["labels"]), len(waiting)
    ('kd', 'labels', None, 'hint', 0)
    """

    def __init__(
        self, labels: Sequence[str], stages: Mapping[str, Sequence[str]], stored: Callable[[str], bool]
    ) -> None:
        self._labels = list(labels)
        self._stages = {label: list(stages[label]) for label in labels}
        self._stored = stored
        self._elsewhere: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def next(self, running: Iterable[str]) -> str | None:
        """Take out the run to begin beside the ``running`` ones; None where each would wait for one of them.

        Raises ``IndexError`` if none is left.
        """
        if not self._labels:
            raise IndexError("no run is left")
        left = [self._left(label) for label in running]
        at_work, taken = {keys[0] for keys in left if keys}, {key for keys in left for key in keys}
        ranks = [self._rank(label, at_work, taken) for label in self._labels]
        place = min(range(len(ranks)), key=lambda i: (ranks[i], i))
        if ranks[place] in (LAST, WAITS) and left:
            return None
        return self._labels.pop(place)

    def put_back(self, label: str, stage: str, running: Iterable[str]) -> None:
        """A run that came to a ``stage`` which another one is at: it has its turn again when that is over, before those behind it.

        If none of the ``running`` ones is to compute it, another program does: then the run goes when nothing else is left.
        """
        if not any(stage in self._left(other) for other in running):
            self._elsewhere[label] = stage
        self._labels.insert(0, label)

    def waits_for_others(self, label: str) -> bool:
        """Whether a run may wait for a stage where it stands: one that another program computes."""
        return label in self._elsewhere

    def _left(self, label: str) -> list[str]:
        """The stages of a run that are still to be computed."""
        return [key for key in self._stages[label] if not self._stored(key)]

    def _rank(self, label: str, at_work: set[str], taken: set[str]) -> int:
        left = self._left(label)
        if left and left[0] in at_work:
            return WAITS
        if self._elsewhere.get(label) in left:
            return LAST
        return SHARES if any(key in taken for key in left) else FREE


FREE, SHARES, LAST, WAITS = range(4)
"""How well a run goes beside others: it shares no stage with them, one that comes later, one with another program, or its next one."""
