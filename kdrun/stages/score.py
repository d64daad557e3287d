"""The ``score`` stage: metrics of tensors that earlier stages gave."""

from __future__ import annotations

from typing import Any

from kdrun.engine.artifacts import Artifact, Table
from kdrun.engine.context import Context
from kdrun.errors import InputError, nearest
from kdrun.graph.nodes import Ref, parse_inputs
from kdrun.registry import catalog, stage
from kdrun.stages.evaluate import named_scores

__all__ = ["score"]


@stage(value="table")
def score(*, metrics: list[Any], context: Context, **inputs: Any) -> dict[str, Artifact]:
    """Metrics of tensors as they were handed in, without a model or a data set: one row, one column a metric.

    ``{metric: mean_absolute_error, from: [fitted, truth], name: mae}``, where ``fitted`` and ``truth`` stand under the
    stage's own ``from``. Raises ``InputError`` for a metric that reads something else.
    """
    row: dict[str, float] = {}
    for i, content in enumerate(metrics):
        key = f"{context.config_key}.metrics.{i}"
        part = catalog().get("metric", content["metric"], key=f"{key}.metric")
        bound = part.bind(parse_inputs(content.get("from"), key=f"{key}.from"), key=key)
        options = {k: v for k, v in content.items() if k not in ("metric", "from", "name")}
        arguments = {name: _handed(ref, inputs, key) for name, ref in bound.items() if isinstance(ref, Ref)}
        row.update(named_scores(part.load()(**arguments, **options), part.name, content.get("name")))
    return {"": Table([row])}


def _handed(ref: Ref, inputs: dict[str, Any], key: str) -> Any:
    if ref.name not in inputs:
        raise InputError(
            f"nothing called '{ref.name}' was handed in{nearest(ref.name, inputs)}; there are: {', '.join(inputs)}",
            key=f"{key}.from",
        )
    value = inputs[ref.name]
    for piece in ref.field:
        value = value[piece]
    return value
