"""What stages hand to each other: models, tensors, tables, data sets and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Artifact", "Data", "Model", "OptimizerSpec", "Table", "Tensors", "Value"]


class Artifact:
    """Base of everything that a stage may return and the store may hold."""


@dataclass(frozen=True)
class Model(Artifact):
    """A model: its specification (``{"model": part, ...}``) and its weights, or None if it was never trained."""

    spec: Mapping[str, Any]
    state: Mapping[str, Tensor] | None


@dataclass(frozen=True)
class Tensors(Artifact):
    """Named tensors; a single one is named ``""``."""

    values: Mapping[str, Tensor]


@dataclass(frozen=True)
class Table(Artifact):
    """Rows of scalars: numbers, strings, booleans or None."""

    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Data(Artifact):
    """Rows of a declared data set: its source node, split, chosen rows (int64) and columns that were changed.

    With an empty ``source`` the columns are the whole data set.
    """

    source: Mapping[str, Any]
    split: str
    indices: Tensor | None
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    classes: int | None = None


@dataclass(frozen=True)
class Value(Artifact):
    """Anything that JSON can hold."""

    value: Any


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer as configured (``{"optimizer": part, ...}``); no artifact, as stages read and never return it."""

    content: Mapping[str, Any]
