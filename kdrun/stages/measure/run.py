"""Stages that use a step graph as a function: ``measure`` scores its nodes by metrics, ``compute`` keeps their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref, parse_inputs
from kdrun.grammar.steps import parse_step
from kdrun.parts.tables import column_of
from kdrun.registry import catalog, stage
from kdrun.runtime.artifacts import Artifact, Table, Tensors
from kdrun.runtime.context import Context
from kdrun.stages.evaluate import named_scores
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
    metrics read what is handed in (``table.column`` is a column), and there need be no data.
    """
    if step is None:
        row: dict[str, float] = {}
        for i, content in enumerate(metrics):
            one = _Metric(content, f"{context.config_key}.metrics.{i}")
            row.update(one.score({ref: _looked_up(inputs, ref) for ref in one.refs}))
        return {"": Table([row])}
    parsed = parse_step(step, key=f"{context.config_key}.step")
    handed = Handed.sort(inputs, context)
    found = handed.trace(parsed, dict(models or {}), min(batch_size, 8))
    wanted = [_Metric(content, f"{context.config_key}.metrics.{i}") for i, content in enumerate(metrics)]
    refs = list(dict.fromkeys(ref for metric in wanted for ref in metric.refs))
    function = StepFunction(compiler_for(parsed, handed, found, context), refs)
    values = function.over(handed.loaders["data"], batch_size=batch_size, context=context)
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
    """What a reference names among the inputs; a field of a table, or of several, is its column [rows], float64."""
    value = inputs[ref.name]
    for piece in ref.field:
        if isinstance(value, list):
            value = column_of(value, piece)
        else:
            value = value[piece] if isinstance(value, Mapping) else value[int(piece)]
    return value


class _Metric:
    def __init__(self, content: Mapping[str, Any], key: str) -> None:
        self.part = catalog().get("metric", content["metric"], key=f"{key}.metric")
        if "from" not in content:
            raise InputError("a metric of measure says what it reads: {metric: NAME, from: [node, ...]}", key=key)
        bound = self.part.bind(parse_inputs(content["from"], key=f"{key}.from"), key=key)
        self.inputs = {name: ref for name, ref in bound.items() if isinstance(ref, Ref)}
        self.options = {k: v for k, v in content.items() if k not in ("metric", "from", "name")}
        self.name: str | None = content.get("name")

    @property
    def refs(self) -> list[Ref]:
        return list(self.inputs.values())

    def score(self, values: Mapping[Ref, Any]) -> dict[str, float]:
        value = self.part.load()(**{name: values[ref] for name, ref in self.inputs.items()}, **self.options)
        return named_scores(value, self.part.name, self.name)
