"""Checking the nodes of a step: calls of models that are handed in, ops with the arguments they take, references that lead somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.grammar.steps import Step, StepNode
from kdrun.graph.check import nested_parts
from kdrun.graph.types import value_type
from kdrun.registry import Part, catalog

__all__ = ["Names", "check_ref", "check_step_node"]


class Names:
    """The types of what the names inside a step stand for: models, data, tensors and optimizers handed in."""

    def __init__(self, step: Step, node: Node, graph: Graph) -> None:
        inputs = node.inputs if isinstance(node.inputs, dict) else {}
        if not isinstance(node.inputs, dict):
            raise InputError("a train stage names its inputs: from: {student: ..., data: ...}", key=f"{node.key}.from")
        self.types: dict[str, str] = {}
        for name, item in inputs.items():
            first = item[0] if isinstance(item, list) else item
            self.types[name] = value_type(first, graph, key=f"{node.key}.from.{name}")
        for name in step.state:
            if name in self.types:
                raise InputError(f"'{name}' already names something handed in", key=f"{step.key}.state.{name}")
            self.types[name] = "tensor"
        for name in node.params.get("models") or {}:
            if name in self.types:
                raise InputError(f"'{name}' stands under both from and models", key=f"{node.key}.models.{name}")
            self.types[name] = "model"

    def of(self, kind: str) -> list[str]:
        return [n for n, t in self.types.items() if t == kind]


def check_step_node(step_node: StepNode, step: Step, names: Names) -> None:
    node = step_node.node
    if node.verb == "call":
        if names.types.get(step_node.role) != "model":
            models = names.of("model")
            raise InputError(
                f"there is no model '{step_node.role}' here{nearest(step_node.role, models)}; models: {', '.join(models)}",
                key=f"{node.key}.call",
            )
    else:
        part = catalog().get("op", node.part, key=f"{node.key}.op")
        scheduled = step_node.scheduled()
        part.validate({k: v for k, v in step_node.params.items() if k not in scheduled}, key=node.key, later=scheduled)
        for name, content in scheduled.items():
            _check_scheduled(part, name, content, f"{node.key}.{name}")
        part.bind(node.inputs, key=node.key)
    for ref in node.refs():
        check_ref(ref, step, names, key=f"{node.key}.from")


def _check_scheduled(part: Part, name: str, content: Mapping[str, Any], key: str) -> None:
    """A parameter that a schedule gives is one of the part's, and the schedule is one."""
    if name not in part.parameters:
        raise InputError(f"op '{part.name}' has no parameter '{name}'{nearest(name, part.parameters)}", key=key)
    for kind, named, params, at in nested_parts(content, key):
        found = catalog().get(kind, named, key=at)
        found.validate({k: v for k, v in params.items() if k != "value" or k in found.parameters}, key=at)


def check_ref(ref: Ref, step: Step, names: Names, *, key: str) -> None:
    if ref.name == "batch":
        if not ref.field:
            raise InputError("name a column of the batch, such as batch.image", key=key)
        return
    if ref.name in step.nodes:
        target = step.nodes[ref.name]
        if target.node.verb == "call" and ref.field:
            known = [*target.taps, *STANDARD_FIELDS]
            if target.taps and ref.field[0] not in known and nearest(ref.field[0], target.taps):
                raise InputError(
                    f"'{ref.name}' has no field '{ref.field[0]}'{nearest(ref.field[0], known)}; taps: {', '.join(target.taps)}",
                    key=key,
                )
        return
    if ref.name not in names.types:
        known = [*step.nodes, *names.types, "batch"]
        raise InputError(f"there is no node or input '{ref.name}'{nearest(ref.name, known)}", key=key)


STANDARD_FIELDS = ("logits", "probabilities", "output")
