"""Updates that take turns: each phase runs until a loss crosses a threshold, or for so many steps or epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdrun.errors import InputError, nearest

__all__ = ["Alternation", "Phase", "parse_phases"]


@dataclass(frozen=True)
class Phase:
    """Some updates by name; ``node``, if any, is the term whose value ends the phase: ``above`` or below ``threshold``."""

    updates: tuple[str, ...]
    at_most: int | None = None
    node: str | None = None
    above: bool = True
    threshold: float = 0.0
    epochs: int | None = None

    def is_over(self, terms: Mapping[str, Any], steps: int) -> bool:
        """After ``steps`` steps of it, the last of which gave these ``terms``."""
        if self.at_most is not None and steps >= self.at_most:
            return True
        if self.node is None or self.node not in terms:
            return False
        value = float(terms[self.node])
        return value > self.threshold if self.above else value < self.threshold


class Alternation:
    """Whose turn it is. Phases follow one another in a circle; updates that are in none run in every step."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        self.phases = tuple(phases)
        self.current, self.steps, self.begun = 0, 0, 0
        self._named = {name for phase in self.phases for name in phase.updates}

    def allows(self, update: str) -> bool:
        return update not in self._named or update in self.phases[self.current].updates

    def reach(self, epoch: int) -> None:
        """Note the epoch of the step to come: a phase of so many epochs ends between two of them."""
        lasts = self.phases[self.current].epochs
        if lasts is not None and epoch - self.begun >= lasts:
            self._next()
        if self.steps == 0:
            self.begun = epoch

    def _next(self) -> None:
        self.current, self.steps = (self.current + 1) % len(self.phases), 0

    def advance(self, terms: Mapping[str, Any]) -> None:
        """Note a step and the values of its terms; reads them from the device where a threshold needs one."""
        self.steps += 1
        if self.phases[self.current].is_over(terms, self.steps):
            self._next()

    def state(self) -> list[int]:
        """What a checkpoint keeps."""
        return [self.current, self.steps, self.begun]

    def restore(self, state: Sequence[int]) -> None:
        self.current, self.steps, self.begun = state


def parse_phases(content: Any, minimized: Mapping[str, Mapping[str, Any]], *, key: str) -> tuple[Phase, ...]:
    """Read ``[{updates: [...], until: {above: [node, value]}, at_most: n}, {updates: [...], epochs: n}, ...]``.

    ``minimized`` gives each update's terms with their weights. Raises ``InputError`` for anything else.
    """
    if not isinstance(content, list) or len(content) < 2:
        raise InputError("alternate lists two phases or more: [{updates: [a], at_most: 10}, ...]", key=key)
    return tuple(_phase(item, minimized, f"{key}.{i}") for i, item in enumerate(content))


def _phase(content: Any, minimized: Mapping[str, Mapping[str, Any]], key: str) -> Phase:
    words = ("updates", "until", "at_most", "epochs")
    if not isinstance(content, dict) or not isinstance(content.get("updates"), list):
        raise InputError("a phase reads {updates: [...], until: {above: [node, value]}, at_most: n}", key=key)
    for word in content:
        if word not in words:
            raise InputError(f"a phase has no '{word}'{nearest(word, words)}", key=f"{key}.{word}")
    for name in content["updates"]:
        if name not in minimized:
            raise InputError(f"there is no update '{name}'{nearest(name, minimized)}", key=f"{key}.updates")
    at_most, epochs, until = content.get("at_most"), content.get("epochs"), content.get("until")
    if at_most is None and epochs is None and until is None:
        raise InputError("a phase without until, at_most and epochs never ends", key=key)
    for word, count, what in (("at_most", at_most, "steps"), ("epochs", epochs, "epochs")):
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise InputError(f"{word} is a number of {what}, got {count!r}", key=f"{key}.{word}")
    updates = tuple(content["updates"])
    if until is None:
        return Phase(updates, at_most, epochs=epochs)
    node, above, threshold = _until(until, f"{key}.until")
    if not any(minimized[name].get(node, 0) != 0 for name in updates):
        raise InputError(
            f"'{node}' ends a phase that does not compute it: none of its updates minimizes it", key=f"{key}.until"
        )
    return Phase(updates, at_most, node, above, threshold, epochs)


def _until(content: Any, key: str) -> tuple[str, bool, float]:
    side = next(iter(content), "") if isinstance(content, dict) and len(content) == 1 else ""
    given = content[side] if side in ("above", "below") else None
    match given:
        case [str(node), int() | float() as value] if not isinstance(value, bool):
            return node, side == "above", float(value)
    raise InputError("until reads {above: [node, value]} or {below: [node, value]}", key=key)
