"""What is known of a stage's result before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["UNKNOWN", "Planned", "Unknown"]


class Unknown:
    """A value that only running the stage can tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Planned:
    """What planning a stage found.

    ``fields`` say by name what is known of the result (``""``: its value): a ``Model`` without weights, a ``DataInfo``, a
    ``Column`` with all axes, lists and mappings of these, or ``UNKNOWN``. ``parameters`` counts scalars by role; ``flops`` are
    those of a step of ``batch_size`` rows, forward and backward; ``memory`` is in bytes: weights, gradients and optimizer
    state, without activations. ``unplanned``: the stage waits for what is known only when earlier stages have run.
    """

    fields: Mapping[str, Any] = field(default_factory=lambda: {"": UNKNOWN})
    parameters: Mapping[str, int] = field(default_factory=dict)
    flops: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    memory: int | None = None
    shapes: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unplanned: bool = False
