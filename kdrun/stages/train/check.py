"""What can be said of a ``train`` stage before anything is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.nodes import Graph, Node, Ref, parse_node
from kdrun.grammar.steps import step_of
from kdrun.graph.check import nested_parts
from kdrun.graph.types import Fields, value_type
from kdrun.registry import catalog, check_of, fields_of, parts_of
from kdrun.stages.train.validated import main_role, validation_of
from kdrun.step.check import Reader, check_step, reader

__all__ = ["check", "check_length", "fields", "parts_of_refresh"]


@fields_of("train")
def fields(node: Node) -> Fields:
    """Each model that is trained by its role, averages, and tables; the node alone means the first of them that was handed in."""
    inputs = node.inputs if isinstance(node.inputs, dict) else {}
    step = step_of(node)
    named = {**dict.fromkeys(step.trained(), "model"), "log": "table", "cost": "table", "average": "model"}
    named |= _named_by_validation(node.params.get("validate"))
    if node.params.get("refresh"):
        named["chosen"] = "tensor"
    return Fields("model", named, main=main_role(inputs, step))


def _named_by_validation(content: Any) -> dict[str, str]:
    if not isinstance(content, Mapping) or content.get("objective") is None:
        return {}
    return {"best": "table", **({"last": "model"} if content.get("keep") == "best" else {})}


@check_of("train")
def check(node: Node, graph: Graph) -> None:
    """Check the step, and the op that chooses rows anew."""
    refresh = node.params.get("refresh")
    readers = [reader(refresh.get("from"), key=f"{node.key}.refresh.from")] if isinstance(refresh, dict) else []
    check_step(node, graph, [*readers, *_readers_of_validation(node, graph)])
    if refresh is not None:
        _check_refresh(refresh, f"{node.key}.refresh")
        over = refresh.get("over", "data")
        handed = node.inputs.get(over) if isinstance(node.inputs, dict) else None
        if not isinstance(handed, Ref) or value_type(handed, graph, key=f"{node.key}.refresh") != "data":
            raise InputError(f"there is no data '{over}' to refresh over", key=f"{node.key}.refresh.over")
    step = step_of(node)
    if int(node.params.get("accumulate", 1)) > 1 and len(step.updates) > 1:
        raise InputError("gradients are accumulated in steps with one update", key=f"{node.key}.accumulate")


def _readers_of_validation(node: Node, graph: Graph) -> Iterator[Reader]:
    """What its metrics read of the step. Raises ``InputError`` for what is wrong with it."""
    found = validation_of(node)
    if found is None:
        return
    said, metrics = found
    handed = node.inputs.get(said.rows) if isinstance(node.inputs, dict) else None
    if not isinstance(handed, Ref) or value_type(handed, graph, key=f"{node.key}.validate") != "data":
        raise InputError(f"hand in the rows to validate on: from: {{{said.rows}: data.valid}}", key=f"{node.key}.from")
    for i, metric in enumerate(metrics):
        yield metric.refs, f"{node.key}.validate.metrics.{i}"


@check_of("wanted train")
def check_length(node: Node, graph: Graph) -> None:
    """How long it trains, and what decides which rows it sees."""
    params, key = node.params, node.key
    epochs, steps = params.get("epochs"), params.get("steps")
    if (epochs is None) == (steps is None):
        said = "neither" if epochs is None else "both"
        raise InputError(f"a train stage needs either epochs or steps, and has {said}", key=f"{key}.epochs")
    if params.get("refresh") is not None and epochs is None:
        raise InputError("rows are chosen anew every so many epochs: give epochs, not steps", key=f"{key}.epochs")
    if params.get("sampler") is not None and (params.get("refresh") is not None or not params.get("shuffle", True)):
        raise InputError(
            "a sampler decides the order of rows: it goes with neither refresh nor shuffle: false", key=f"{key}.sampler"
        )
    rows, parts = int(params.get("batch_size", 64)), int(params.get("accumulate", 1))
    if parts > rows:
        raise InputError(f"a batch of {rows} rows has no {parts} parts", key=f"{key}.accumulate")


def _check_refresh(refresh: Any, key: str) -> None:
    inner = parse_node("refresh", refresh, key=key, verbs=("op",))
    part = catalog().get("op", inner.part, key=f"{inner.key}.op")
    scheduled = {k for k, v in inner.params.items() if isinstance(v, dict) and "schedule" in v}
    own = {k: v for k, v in inner.params.items() if k not in ("every", "over", *scheduled)}
    part.validate(own, key=inner.key, later=scheduled)
    part.bind(inner.inputs, key=inner.key)


@parts_of("refresh")
def parts_of_refresh(content: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """The op that chooses rows, and the schedules of its parameters."""
    yield "op", content["op"]
    yield from ((kind, name) for kind, name, _, _ in nested_parts(dict(content), key))
