"""Planning a stage that has a step: its models, shapes, gradients and FLOPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.data.dataset import Column, DataInfo
from kdrun.grammar.nodes import Node, Ref
from kdrun.grammar.steps import Step, step_of
from kdrun.models.building import resolve, sizes_from_data
from kdrun.registry import plan_of
from kdrun.runtime.artifacts import Model
from kdrun.runtime.known import UNKNOWN, Planned, Unknown
from kdrun.step.classes import check_classes, check_tokens
from kdrun.step.trace import Trace, trace_once

__all__ = ["plan_step", "planned", "trace_of", "traced"]


@plan_of("step")
def plan_step(node: Node, values: Mapping[str, Any]) -> Planned:
    """Trace the step of a stage of any kind. The fields are those of trained models, or unknown where nothing is trained."""
    return planned(node, values, trace_of(node, values))


def trace_of(node: Node, values: Mapping[str, Any], read: Sequence[Ref] = ()) -> Trace | None:
    """The trace of a stage's step, None if it waits for what is known later; ``read`` reads its nodes from outside."""
    if "data" not in values or any(isinstance(v, Unknown) for v in values.values()):
        return None
    step = step_of(node)
    extra = dict(node.params.get("models") or {})
    size = int(node.params.get("batch_size", 64))
    return traced(step, values, extra=extra, batch_size=size, read=read)


def planned(node: Node, values: Mapping[str, Any], found: Trace | None) -> Planned:
    """The plan that a trace makes."""
    batch_size = int(node.params.get("batch_size", 64))
    step = step_of(node)
    if found is None:
        models = [n for n, v in values.items() if isinstance(v, Model)]
        roles = dict.fromkeys([*step.trained(), *models, *dict(node.params.get("models") or {})], UNKNOWN)
        note = "not planned: it depends on what an earlier stage finds when it runs"
        return Planned(roles, batch_size=batch_size, notes=(note,), unplanned=True)
    return Planned(
        _trained_models(found, step) if step.updates else {"": UNKNOWN},
        parameters=found.parameters,
        flops=found.flops,
        batch_size=batch_size,
        memory=found.parameter_bytes,
        shapes=found.shapes,
    )


def traced(
    step: Step,
    values: Mapping[str, Any],
    *,
    extra: Mapping[str, Any],
    batch_size: int,
    read: Sequence[Ref] = (),
) -> Trace:
    """Trace a step with what is known of its inputs."""
    infos = {n: v for n, v in values.items() if isinstance(v, DataInfo)}
    given: dict[str, Any] = {
        "specs": {n: m.spec for n, m in values.items() if isinstance(m, Model)},
        "extra": extra,
        "tensors": {n: v for n, v in values.items() if isinstance(v, Column | dict)},
        "columns": {n: i.columns for n, i in infos.items()},
        "batch_size": batch_size,
        "sizes": sizes_from_data(infos["data"]),
        "rows": infos["data"].size,
        "read": list(read),
    }
    check_tokens(step, {role: resolve(spec, given["sizes"]) for role, spec in given["specs"].items()}, infos)
    found = trace_once(step, **given)
    check_classes(step, found.shapes, infos)
    return found


def _trained_models(found: Trace, step: Step) -> dict[str, Any]:
    """What is known of the models that a step trains, and of their averages."""
    fields: dict[str, Any] = {role: Model(spec, None) for role, spec in found.specs.items()}
    for update in step.updates:
        for role in update.average:
            fields[f"average.{role}"] = Model(found.specs[role], None)
            fields.setdefault("average", fields[f"average.{role}"])
    return fields
