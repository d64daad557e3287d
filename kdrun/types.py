"""Names for parameter types with a range, used in the signatures of parts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

__all__ = [
    "Auto",
    "Count",
    "Fraction",
    "NonNegative",
    "PathToRead",
    "Per",
    "Positive",
    "PretrainedName",
    "Schedule",
    "Size",
    "Unsigned",
]

Positive = Annotated[float, Gt(0)]
"""A real number above 0."""

NonNegative = Annotated[float, Ge(0)]
"""A real number, 0 or above."""

Fraction = Annotated[float, Ge(0), Le(1)]
"""A real number from 0 to 1."""

Count = Annotated[int, Ge(1)]
"""A whole number, 1 or above."""

Unsigned = Annotated[int, Ge(0)]
"""A whole number, 0 or above."""

Auto = Literal["auto"]
"""Found by the engine: from the data for a model's input and output, else by a shape pass."""

Size = Annotated[int, Ge(1)] | Auto
"""A size: a whole number, 1 or above, or ``auto``."""

Per = Literal["step", "epoch"]
"""How often a schedule moves."""

Schedule = float | dict[str, Any]
"""A constant, or a registered schedule over the course of training."""

PathToRead = str
"""A file or folder that is read. Configurations that others wrote name none outside of the working folder."""

PretrainedName = str
"""A name of something pretrained: what is packaged, a folder (as for ``PathToRead``), or an entry of a hub."""
