"""How weights from a file differ from those that a model has, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Misfits"]

SHOWN = 5
"""How many of a kind are named."""


@dataclass(frozen=True)
class Misfits:
    """Weights of other shapes or kinds than the model's, by name with what is said of each, and names that one side alone has."""

    other: Mapping[str, str]
    missing: Sequence[str]
    surplus: Sequence[str]

    @classmethod
    def of(cls, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Misfits | None:
        """Compare shapes, and whole numbers with real ones; None if nothing differs."""
        other = {}
        for name, value in own.items():
            if name in given and given[name].shape != value.shape:
                other[name] = f"{name} is {list(given[name].shape)}, expected {list(value.shape)}"
            elif name in given and given[name].is_floating_point() != value.is_floating_point():
                other[name] = f"{name} holds {given[name].dtype}, expected {value.dtype}"
        missing, surplus = [n for n in own if n not in given], [n for n in given if n not in own]
        return cls(other, missing, surplus) if other or missing or surplus else None

    def __str__(self) -> str:
        said = []
        if self.other:
            said.append(_listed(list(self.other.values())))
        if self.missing:
            said.append(f"it lacks {len(self.missing)}: {_listed(self.missing)}")
        if self.surplus:
            said.append(f"it has {len(self.surplus)} more: {_listed(self.surplus)}")
        return "; ".join(said)

    def advice(self, weights: Any, own: Mapping[str, Tensor]) -> str:
        """What to write where only some modules differ, or in any case."""
        around = list(dict.fromkeys(n.rpartition(".")[0] or n for n in (*self.other, *self.missing, *self.surplus)))
        known = all(any(n == module or n.startswith(f"{module}.") for n in own) for module in around)
        if known and len(around) <= 3:
            skip = ", ".join([*weights.skip, *around])
            return f"; weights={{path: {weights.path}, skip: [{skip}]}} leaves out what does not fit"
        kept = f", skip: [{', '.join(weights.skip)}]" if weights.skip else ""
        return f"; weights={{path: {weights.path}{kept}, fit: partial}} leaves out what does not fit"


def _listed(items: Sequence[str]) -> str:
    rest = f", … ({len(items) - SHOWN} more)" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + rest
