"""The ``measure`` stage: metrics of any nodes of a step graph over a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.engine.artifacts import Artifact, Table
from kdrun.engine.context import Context
from kdrun.errors import InputError
from kdrun.graph.nodes import Ref, parse_inputs
from kdrun.registry import catalog, stage
from kdrun.stages.evaluate import named_scores
from kdrun.stages.roles import Handed, StepFunction, compiler_for
from kdrun.step.spec import parse_step
from kdrun.types import Count

__all__ = ["measure"]


@stage(value="table")
def measure(
    *,
    step: dict[str, Any],
    metrics: list[Any],
    models: dict[str, Any] | None = None,
    batch_size: Count = 512,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Metrics of a step graph's nodes over ``data``, all models in eval mode: one row, one column a metric.

    Each metric says what it reads: ``{metric: accuracy, from: [deployed, batch.label], name: deployed}``. It gets a
    node's values for all rows, a scalar node's mean over the rows, or a tensor as it was handed in.
    """
    parsed = parse_step(step, key=f"{context.config_key}.step")
    handed = Handed.sort(inputs, context)
    found = handed.trace(parsed, dict(models or {}), min(batch_size, 8))
    wanted = [_Metric(content, f"{context.config_key}.metrics.{i}") for i, content in enumerate(metrics)]
    refs = list(dict.fromkeys(ref for metric in wanted for ref in metric.refs))
    function = StepFunction(compiler_for(parsed, handed, found, context), refs)
    values = function.over(handed.loaders["data"], batch_size=batch_size, context=context)
    row: dict[str, float] = {}
    for metric in wanted:
        row.update(metric.score(dict(zip(refs, values, strict=True))))
    return {"": Table([row])}


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
