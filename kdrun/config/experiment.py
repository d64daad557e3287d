"""A composed experiment, and what a command line says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdrun.config.layers import COMMAND_LINE, Override, parse_text
from kdrun.config.locate import locate
from kdrun.errors import InputError, KdrunError

__all__ = ["Experiment", "Selection"]

_LACKING = re.compile(r"(the data|'(data|teacher|student)') has no (column|field|split) ")


@dataclass(frozen=True)
class Experiment:
    """A composed and resolved configuration, and where its keys come from."""

    recipe: str
    config: dict[str, Any]
    sources: tuple[tuple[Path, str], ...] = ()
    overrides: tuple[Override, ...] = ()
    arm: str | None = None
    scale: str | None = None
    choices: Mapping[str, str | None] = field(default_factory=dict)
    given: Mapping[str, str | None] = field(default_factory=dict)
    """The choices that a layer over the recipe makes."""

    def explain(self, error: KdrunError) -> KdrunError:
        """Add file and line to an error that names a config key, and what to do where a method does not fit."""
        if error.key and not error.where:
            error.where = locate(error.key, self.sources, self.overrides)
            error.message += self._unfit(error)
        return error

    def _unfit(self, error: KdrunError) -> str:
        """What to do where the method, the data and the recipe's own nodes do not go together; else empty."""
        place, method = error.where or "", str(self.choices.get("transfer"))
        own = re.match(r"graph\.(\w+)\.from", error.key or "")
        if own and "transfer" in self.given and re.search(r"(^|/)recipes/", place):
            return (
                f"; '{own[1]}' is the recipe's own and does not fit transfer={method}: leave it out by skip=[{own[1]}]"
            )
        if _LACKING.match(error.message) and re.search(r"(^|/)(protocol|transfer)/", place):
            protocol = method.partition("/")[0]
            return (
                f"; method {method} does not fit data={self.choices.get('data')}: "
                f"kdrun list methods {protocol} says what it reads"
            )
        return ""

    def at(self, seed: int) -> Experiment:
        """The same with another seed, where no value is computed from it."""
        return replace(self, config={**self.config, "seed": seed})

    @property
    def claims(self) -> dict[str, Any]:
        """The claims, without those that a layer takes away."""
        return {name: claim for name, claim in (self.config.get("claims") or {}).items() if claim is not None}

    @property
    def exploratory(self) -> dict[str, str]:
        """Of arms that are there to be looked at, why."""
        arms = self.config.get("arms") or {}
        return {name: arm["exploratory"] for name, arm in arms.items() if (arm or {}).get("exploratory")}

    def was_looked_at(self, seed: int) -> bool:
        """Whether the recipe was made looking at a seed: ``looked_at: [3, 10-19]``, ranges with both ends."""
        ends = [str(entry).partition("-") for entry in self.config.get("looked_at") or ()]
        return any(int(low) <= seed <= int(high or low) for low, _, high in ends)

    @property
    def changes(self) -> tuple[str, ...]:
        """What the user changed, as it was written."""
        return tuple(o.key for o in self.overrides if o.layer == COMMAND_LINE)


@dataclass(frozen=True)
class Selection:
    """What a command line says: the arm, the scale, the seeds, and the overrides that are left."""

    overrides: tuple[Override, ...]
    arm: str | None = None
    scale: str | None = None
    seeds: Any = None

    @classmethod
    def of(cls, texts: Sequence[str], origin: str = COMMAND_LINE) -> Selection:
        """Read overrides in Hydra's grammar. Raises ``InputError``."""
        found = parse_text(texts, origin)
        words = {o.path: o.value for o in found if o.path in ("arm", "scale", "seeds") and o.sign != "~"}
        rest = tuple(o for o in found if o.path not in words)
        for word in ("arm", "scale"):
            if words.get(word) is not None and not isinstance(words[word], str):
                raise InputError(f"{word} is a name, got {words[word]!r}", key=word)
        return cls(rest, words.get("arm"), words.get("scale"), words.get("seeds"))
