"""Planning ``measure`` and ``compute`` stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kdrun.grammar.nodes import Node
from kdrun.registry import plan_of
from kdrun.runtime.known import UNKNOWN, Planned
from kdrun.stages.measure.check import read_by_metrics
from kdrun.step.check import reader
from kdrun.step.plan import planned, trace_of

__all__ = ["plan_compute", "plan_measure"]


@plan_of("measure")
def plan_measure(node: Node, values: Mapping[str, Any]) -> Planned:
    """The step, if there is one, and that metrics can read its nodes."""
    if not isinstance(node.params.get("step"), dict):
        return Planned()
    read = [ref for refs, _ in read_by_metrics(node) for ref in refs]
    return planned(node, values, trace_of(node, values, read))


@plan_of("compute")
def plan_compute(node: Node, values: Mapping[str, Any]) -> Planned:
    """Values of nodes over all rows; one without a batch axis keeps its shape."""
    read, _ = reader(node.params["of"], key=f"{node.key}.of")
    found = trace_of(node, values, read)
    one = planned(node, values, found)
    if found is None:
        return one
    rows = values["data"].size or one.batch_size
    fields = {
        name: UNKNOWN if value is None or not value.shape else replace(value, shape=(rows, *value.shape[1:]))
        for name, value in found.read.items()
    }
    return replace(one, fields={"": next(iter(fields.values())), **fields})
