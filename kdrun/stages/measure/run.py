"""Stages that use a step graph as a function: ``measure`` scores its nodes by metrics, ``compute`` keeps their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import parse_step
from kdrun.parts.tables import column_of
from kdrun.registry import stage
from kdrun.runtime.artifacts import Artifact, Table, Tensors
from kdrun.runtime.context import Context
from kdrun.runtime.soundness import refuse_nan
from kdrun.stages.scoring import NodeMetric
from kdrun.step.function import StepFunction
from kdrun.step.handed import Handed, compiler_for
from kdrun.types import Count

__all__ = ["compute", "measure"]


@stage(value="table", random="step")
def measure(
    *,
    metrics: list[Any],
    step: dict[str, Any] | None = None,
    models: dict[str, Any] | None = None,
    batch_size: Count = 512,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Metrics of a step graph's nodes over ``data``, all models in eval mode: one row, one column a metric.

    Each metric says what it reads: ``{metric: accuracy, from: [deployed, batch.label], name: deployed}``. It gets a
    node's values for all rows, a scalar node's mean over the rows, or a tensor as it was handed in. Without ``step``,
    metrics read what is handed in (``table.column`` is a column), and there need be no data. Raises ``Diverged`` where a node
    that a metric reads is NaN.
    """
    if step is None:
        row: dict[str, float] = {}
        for i, content in enumerate(metrics):
            one = NodeMetric(content, f"{context.config_key}.metrics.{i}")
            row.update(one.score({ref: _looked_up(inputs, ref) for ref in one.refs}))
        return {"": Table([row])}
    parsed = parse_step(step, key=f"{context.config_key}.step")
    handed = Handed.sort(inputs, context)
    found = handed.trace(parsed, dict(models or {}), min(batch_size, 8))
    wanted = [NodeMetric(content, f"{context.config_key}.metrics.{i}") for i, content in enumerate(metrics)]
    refs = list(dict.fromkeys(ref for metric in wanted for ref in metric.refs))
    function = StepFunction(compiler_for(parsed, handed, found, context), refs)
    values = function.over(handed.loaders["data"], batch_size=batch_size, context=context)
    computed = {f"'{r}', which is scored,": v for r, v in zip(refs, values, strict=True) if r.name in parsed.nodes}
    refuse_nan(computed, key=context.config_key)
    row = {}
    for metric in wanted:
        row.update(metric.score(dict(zip(refs, values, strict=True))))
    return {"": Table([row])}


@stage(value="tensor")
def compute(
    *,
    step: dict[str, Any],
    of: list[str],
    models: dict[str, Any] | None = None,
    batch_size: Count = 512,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Values of a step graph's nodes for every row of ``data``, all models in eval mode.

    The value is that of the first node in ``of``, [rows, ...]; each of them is a field. A scalar node gives its mean.
    """
    parsed = parse_step(step, key=f"{context.config_key}.step")
    handed = Handed.sort(inputs, context)
    found = handed.trace(parsed, dict(models or {}), min(batch_size, 8))
    refs = [Ref.parse(name, key=f"{context.config_key}.of") for name in of]
    function = StepFunction(compiler_for(parsed, handed, found, context), refs)
    values = function.over(handed.loaders["data"], batch_size=batch_size, context=context)
    fields = {name: Tensors({"": value}) for name, value in zip(of, values, strict=True)}
    return {"": fields[of[0]], **fields}


def _looked_up(inputs: Mapping[str, Any], ref: Ref) -> Any:
    """What a reference names among the inputs; a field of a table, or of several, is its column [rows], float64.

    Raises ``InputError`` for a field that it has not.
    """
    value = inputs[ref.name]
    for piece in ref.field:
        if isinstance(value, list):
            value = column_of(value, piece)
        elif isinstance(value, Mapping) and piece in value:
            value = value[piece]
        elif isinstance(value, Tensor) and value.dim() and piece.isdigit() and int(piece) < len(value):
            value = value[int(piece)]
        else:
            raise InputError(f"'{ref}' asks for '{piece}', which what is handed in as '{ref.name}' has not")
    return value
