"""The ``evaluate`` stage: models over data, scored by registered metrics."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError, nearest
from kdrun.registry import catalog, stage
from kdrun.runtime.artifacts import Artifact, Model, Table, Tensors
from kdrun.runtime.context import Context
from kdrun.step.taps import tap
from kdrun.types import Count

__all__ = ["evaluate", "named_scores", "outputs_over", "predict"]


@stage(value="table")
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


def named_scores(value: Any, part: str, name: str | None) -> dict[str, float]:
    """A metric's value by column: under ``name`` or its part's; several values under their own, behind a given ``name``."""
    if isinstance(value, Mapping):
        return {f"{name}.{k}" if name else k: float(v) for k, v in value.items()}
    return {name or part: float(value)}


@torch.no_grad()
def outputs_over(
    module: nn.Module, data: Dataset, taps: Mapping[str, str], *, input: str, batch_size: int, context: Context
) -> dict[str, Tensor]:
    """Run ``module`` over ``data`` in order; return outputs, taps and the batch columns other than the input, on the CPU."""
    column = input if input in data.info.columns else next(iter(data.info.columns))
    slots = {name: tap(module, path, key=f"{context.config_key}.taps.{name}") for name, path in taps.items()}
    collected: dict[str, list[Tensor]] = {}
    with context.hardware.evaluation():
        for batch in data.batches(batch_size, device=context.device, workers=context.hardware.workers):
            output = module(batch[column])
            found = {"logits": output} if isinstance(output, Tensor) else _tensors(output)
            found.update({name: slot.take() for name, slot in slots.items()})
            found.update({k: v for k, v in batch.items() if k != column})
            for name, value in found.items():
                collected.setdefault(name, []).append(
                    value.detach().float().cpu() if value.is_floating_point() else value.cpu()
                )
    return {name: torch.cat(parts) for name, parts in collected.items()}


def _tensors(output: Any) -> dict[str, Tensor]:
    items = output.items() if hasattr(output, "items") else inspect.getmembers(output, lambda v: isinstance(v, Tensor))
    return {name: value for name, value in items if isinstance(value, Tensor)}


@stage(value="tensor")
def predict(
    model: Model | list[Model],
    data: Dataset,
    *,
    of: str = "logits",
    taps: dict[str, str] | None = None,
    input: str = "image",
    batch_size: Count = 512,
    context: Context,
) -> dict[str, Artifact]:
    """Cache what a model says of each row, in the data's order.

    The value is ``of`` (``logits``, ``probabilities`` or a tap), [rows, ...], or [models, rows, ...] for
    several models; each tap is a further field.
    """
    models = model if isinstance(model, list) else [model]
    found: dict[str, list[Tensor]] = {}
    for one in models:
        module = context.module(one, role="model")
        columns = outputs_over(module, data, taps or {}, input=input, batch_size=batch_size, context=context)
        if "logits" in columns:
            columns["probabilities"] = columns["logits"].softmax(-1)
        if of not in columns:
            raise InputError(f"the model gives no '{of}'{nearest(of, columns)}", key=f"{context.config_key}.of")
        for name in {of, *(taps or {})}:
            found.setdefault(name, []).append(columns[name])
    values = {name: torch.stack(parts) if isinstance(model, list) else parts[0] for name, parts in found.items()}
    return {"": Tensors({"": values[of]}), **{name: Tensors({"": value}) for name, value in values.items()}}
