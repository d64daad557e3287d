"""A plan as a table: what each stage is, what it costs, and whether the store holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdrun.engine.plan import Plan, StagePlan

__all__ = ["plan_lines", "plan_table", "plan_total"]

HEADER = ("stage", "kind", "parameters", "FLOPs a step", "steps", "weights and state", "key", "stored")


def plan_table(plan: Plan, stored: Callable[[str], bool]) -> tuple[list[str], list[list[str]]]:
    """Header and rows, a row a stage; ``stored`` tells whether the store holds the result with a key."""
    return list(HEADER), [_row(stage, stored(stage.key)) for stage in plan.stages]


def _row(stage: StagePlan, stored: bool) -> list[str]:
    return [
        stage.name,
        stage.kind,
        " ".join(f"{role} {_si(count)}" for role, count in stage.parameters.items()),
        "not planned" if stage.unplanned else "" if stage.flops is None else _si(stage.flops),
        f"{stage.steps:,}" if stage.steps else "",
        f"{_si(stage.memory)}B" if stage.memory else "",
        stage.key[:10],
        "yes" if stored else "no",
    ]


def plan_lines(plan: Plan, *, shapes: bool = False) -> Iterator[str]:
    """What is worth knowing of each stage beside the table; with ``shapes``, the shape of every node's value."""
    for stage in plan.stages:
        for note in stage.notes:
            yield f"{stage.name}: {note}"
        if shapes:
            for name, shape in stage.shapes.items():
                yield f"  {stage.name}.{name}: {shape}"


def plan_total(plan: Plan) -> str:
    """FLOPs of all training steps, or that some or all of them are not planned."""
    training = [stage for stage in plan.stages if stage.trains]
    unplanned = [s for s in training if s.unplanned or (s.flops and s.steps is None)]
    if not training:
        return "nothing is trained"
    if len(unplanned) == len(training):
        return f"training in all: not planned ({len(training)} stages wait for what is known only when others have run)"
    more = f", and {len(unplanned)} stages that are not planned" if unplanned else ""
    return f"training in all: {_si(plan.total_flops)}FLOPs{more}"


def _si(value: float) -> str:
    """A count with a unit prefix: 1.5M."""
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if abs(value) < 1000:
            return f"{value:.3g}{unit}" if unit or value != int(value) else f"{int(value)}"
        value /= 1000
    return f"{value:.3g}Z"
