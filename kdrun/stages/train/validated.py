"""What the metrics of a validation read: nodes of the step, on other rows. Known before anything is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.nodes import Node
from kdrun.grammar.steps import Step, step_of
from kdrun.grammar.validation import Validate, parse_validate
from kdrun.registry import catalog
from kdrun.stages.columns import require_distinct
from kdrun.stages.scoring import NodeMetric
from kdrun.step.names import STANDARD_FIELDS

__all__ = ["main_role", "metrics_of", "validation_of"]


def main_role(inputs: Iterable[str], step: Step) -> str:
    """The model that a train stage stands for: the first one handed in that an update trains, else the first that one does."""
    trained = step.trained()
    return next((role for role in inputs if role in trained), trained[0] if trained else "")


def validation_of(node: Node) -> tuple[Validate, list[NodeMetric]] | None:
    """What a train stage says of validation, and its metrics; None where it says nothing. Raises ``InputError``."""
    if node.params.get("validate") is None:
        return None
    key = f"{node.key}.validate"
    said = parse_validate(node.params["validate"], key=key)
    step = step_of(node)
    return said, metrics_of(said, step, main_role(node.inputs if isinstance(node.inputs, dict) else {}, step), key=key)


def metrics_of(validate: Validate, step: Step, main: str, *, key: str) -> list[NodeMetric]:
    """The metrics with what they read; one that does not say reads what the first call of ``main`` answers, and columns.

    Its arguments are found by name: ``logits``, ``probabilities`` and the call's taps are the call's, all others columns of
    the rows. Raises ``InputError`` where there is no such call, for a metric that does not exist, and for two of one name.
    """
    require_distinct(validate.metrics, f"{key}.metrics")
    return [
        NodeMetric(_complete(content, step, main, key=f"{key}.metrics.{i}"), f"{key}.metrics.{i}")
        for i, content in enumerate(validate.metrics)
    ]


def _complete(content: Mapping[str, Any], step: Step, main: str, *, key: str) -> Mapping[str, Any]:
    if "from" in content:
        return content
    call = next((n for n in step.nodes.values() if n.node.verb == "call" and n.role == main and not n.inner), None)
    if call is None:
        raise InputError(f"'{main}' is not called in the step: say what the metric reads: from: [node, ...]", key=key)
    answers = {*STANDARD_FIELDS, *call.taps}
    part = catalog().get("metric", content["metric"], key=f"{key}.metric")
    read = [i.name for i in part.inputs if i.required or i.name in call.taps]
    return {**content, "from": {n: f"{call.name}.{n}" if n in answers else f"batch.{n}" for n in read}}
