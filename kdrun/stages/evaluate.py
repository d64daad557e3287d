"""The ``evaluate`` stage: models over data, scored by registered metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError, nearest
from kdrun.registry import catalog, stage
from kdrun.runtime.artifacts import Artifact, Model, Table
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.stages.scoring import named_scores
from kdrun.types import Count

__all__ = ["evaluate"]


@stage(value="table", random=False)
def evaluate(
    model: Model | list[Model],
    data: Dataset,
    *,
    metrics: list[Any],
    taps: dict[str, str] | None = None,
    input: str = "image",
    batch_size: Count = 512,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Score one or several models on a data set; one row a model, one column a metric.

    A metric's positional arguments are found by name among the model's outputs (``logits``), ``taps``, the
    data's columns and the further ``inputs``. Raises ``InputError`` if a metric asks for something else.
    """
    models = model if isinstance(model, list) else [model]
    rows = []
    for i, one in enumerate(models):
        module = context.module(one, role="model")
        columns = outputs_over(module, data, taps or {}, input=input, batch_size=batch_size, context=context)
        row: dict[str, Any] = {"model": i} if len(models) > 1 else {}
        for content in metrics:
            row.update(_score(content, {**columns, **inputs}, context))
        rows.append(row)
    return {"": Table(rows)}


def _score(content: Mapping[str, Any], columns: Mapping[str, Any], context: Context) -> dict[str, float]:
    part = catalog().get("metric", content["metric"], key=context.config_key)
    options = {k: v for k, v in content.items() if k not in ("metric", "name")}
    missing = [i.name for i in part.inputs if i.required and i.name not in columns]
    if missing:
        hint = nearest(missing[0], columns)
        raise InputError(
            f"metric '{part.name}' reads '{missing[0]}', which is no column here{hint}; there are: {', '.join(columns)}",
            key=f"{context.config_key}.metrics",
        )
    arguments = {i.name: columns[i.name] for i in part.inputs if i.name in columns}
    value = part.load()(**arguments, **options)
    return named_scores(value, part.name, content.get("name"))
