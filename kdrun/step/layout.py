"""The registers of a step, and what the names inside it stand for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from kdrun.data.dataset import Column
from kdrun.grammar.steps import StepNode
from kdrun.runtime.answers import Shelf
from kdrun.runtime.sharding import Shards
from kdrun.step.remembered import Lasting

__all__ = ["Bindings", "Label", "Layout"]

Label = tuple[str, str]
"""What stands in a register: a node, or a node and its field, and the loader that it reads."""


@dataclass
class Bindings:
    """What the names inside a step stand for.

    ``columns`` are those of each loader; ``lasting``: the loaders whose rows are the same in every epoch; ``shards``: how calls are split among processes, and
    ``by_row`` those that may be. ``shelf``: where frozen models' answers to rows that change are kept, computed under ``numerics``.
    """

    modules: dict[str, nn.Module]
    tensors: dict[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, Column]] = field(default_factory=lambda: {"data": {}})
    lasting: Mapping[str, Lasting] = field(default_factory=dict)
    shards: Shards | None = None
    by_row: Collection[str] = ()
    shelf: Shelf | None = None
    numerics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def loaders(self) -> tuple[str, ...]:
        """The names of the data that batches are drawn from."""
        return tuple(self.columns)


@dataclass
class Layout:
    """Registers shared by the segments of a step.

    ``columns``: register, loader and column; ``readers``: where in the configuration a column is read first; ``origins``:
    the node whose value a register holds; ``made``: where a value, or a tap of it, was put last; ``read``: what a call read.
    """

    size: int = 0
    columns: list[tuple[int, str, str]] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    readers: dict[int, str] = field(default_factory=dict)
    origins: dict[int, StepNode] = field(default_factory=dict)
    made: dict[Label, int] = field(default_factory=dict)
    read: dict[Label, tuple[int, ...]] = field(default_factory=dict)

    def new(self) -> int:
        self.size += 1
        return self.size - 1

    def template(self) -> list[Any]:
        """All registers, with the constants in theirs."""
        r: list[Any] = [None] * self.size
        for register, value in self.constants.items():
            r[register] = value
        return r

    def filled(self, batch: Mapping[str, Tensor]) -> list[Any]:
        """The registers with one loader's batch in them, for a program that reads no other."""
        r = self.template()
        for register, _, column in self.columns:
            r[register] = batch.get(column)
        return r
