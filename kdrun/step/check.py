"""Checking a step before anything is imported: its nodes, its updates, and what reads it from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Graph, Node, Ref, parse_inputs
from kdrun.grammar.steps import Step, Update, parse_step, step_of
from kdrun.graph.check import check_optimizer, nested_parts
from kdrun.registry import catalog, check_of, parts_of
from kdrun.step.names import Names, check_ref, check_step_node

__all__ = ["Reader", "check_step", "parts_of_step", "reader"]

Reader = tuple[list[Ref], str]
"""References into a step from outside (what metrics, a refresh or ``of`` read), and the key they stand at."""


def reader(content: Any, *, key: str) -> Reader:
    """Read references under ``key``: a list, a mapping by argument name, or a single one."""
    inputs = parse_inputs(content, key=key)
    items = inputs.values() if isinstance(inputs, dict) else inputs
    return [ref for item in items for ref in (item if isinstance(item, list) else [item])], key


@check_of("step")
def check_step(node: Node, graph: Graph, readers: Iterable[Reader] = ()) -> None:
    """Check the step of a stage. Raises ``InputError`` for what does not fit together."""
    step = step_of(node)
    names = Names(step, node, graph)
    for entry in step.state.values():
        part = catalog().get("op", entry.part, key=f"{entry.key}.op")
        part.validate(entry.params, key=entry.key)
        part.bind([], key=entry.key)
    for name, step_node in step.nodes.items():
        if name in names.types or name == "batch":
            raise InputError(f"'{name}' already names something handed in", key=step_node.node.key)
        check_step_node(step_node, step, names)
    step.order()
    if "data" not in names.types:
        raise InputError(f"'{node.part}' needs data: from: {{..., data: data.train}}", key=f"{node.key}.from")
    for refs, key in readers:
        for ref in refs:
            check_ref(ref, step, names, key=key)
    for update in step.updates:
        check_update(update, step, names)


@parts_of("step")
def parts_of_step(content: Mapping[str, Any], key: str) -> Iterable[tuple[str, str]]:
    """Kind and name of every part that a step names, in its nodes, its state and its updates."""
    step = parse_step(content, key=key)
    for node in [*(n.node for n in step.nodes.values()), *step.state.values()]:
        if node.verb == "op":
            yield "op", node.part
            yield from ((kind, name) for kind, name, _, _ in nested_parts(dict(node.params), node.key))
    for update in step.updates:
        inline = update.optimizer if isinstance(update.optimizer, Mapping) else {}
        for kind, name, _, _ in nested_parts([dict(update.minimize), dict(inline), list(update.gradient)], update.key):
            yield kind, name


def check_update(update: Update, step: Step, names: Names) -> None:
    for name, weight in update.minimize.items():
        if name.split(".")[0] not in step.nodes:
            raise InputError(
                f"there is no node '{name}'{nearest(name, step.nodes)}", key=f"{update.key}.minimize.{name}"
            )
        if isinstance(weight, bool) or not isinstance(weight, int | float | dict):
            raise InputError(f"a weight is a number or a schedule, got {weight!r}", key=f"{update.key}.minimize.{name}")
        for kind, part, params, key in nested_parts(weight, f"{update.key}.minimize.{name}"):
            catalog().get(kind, part, key=key).validate({k: v for k, v in params.items() if k != "value"}, key=key)
    for role in update.roles():
        if names.types.get(role) != "model":
            models = names.of("model")
            raise InputError(f"there is no model '{role}' to train{nearest(role, models)}", key=f"{update.key}.train")
    if isinstance(update.optimizer, str):
        if names.types.get(update.optimizer) != "optimizer":
            raise InputError(
                f"there is no optimizer '{update.optimizer}' under from{nearest(update.optimizer, names.types)}",
                key=f"{update.key}.optimizer",
            )
    else:
        check_optimizer(update.optimizer, f"{update.key}.optimizer")
    for kind, part, params, key in nested_parts(update.optimizer, f"{update.key}.optimizer"):
        catalog().get(kind, part, key=f"{key}.{kind}").validate(params, key=key)
    for transform in update.gradient:
        params = {k: v for k, v in transform.items() if k not in ("gradient", "from")}
        catalog().get("gradient", transform["gradient"], key=f"{update.key}.gradient").validate(
            params, key=f"{update.key}.gradient"
        )
    if names.types.get(update.batch) != "data":
        raise InputError(
            f"there is no data '{update.batch}'{nearest(update.batch, names.of('data'))}", key=f"{update.key}.batch"
        )
    others = [u.name for u in step.updates]
    if update.through is not None and update.through.get("update") not in others:
        raise InputError(f"through names an update: one of {', '.join(others)}", key=f"{update.key}.through")
    for role in update.average:
        if role not in update.roles():
            raise InputError(f"average names '{role}', which this update does not train", key=f"{update.key}.average")
