"""The ``predict`` stage: what models say of a data set, kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, Dataset
from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Node
from kdrun.models.building import sizes_from_data
from kdrun.registry import plan_of, stage
from kdrun.runtime.artifacts import Artifact, Model, Tensors
from kdrun.runtime.context import Context
from kdrun.runtime.fakes import FakeContext, fake, on_fakes
from kdrun.runtime.known import Planned, Unknown
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count

__all__ = ["plan", "predict"]


@stage(value="tensor", random=False)
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


@plan_of("predict")
def plan(node: Node, values: Mapping[str, Any]) -> Planned:
    """Two fake rows tell what is said of a row; there are as many as the data has."""
    data, models = values.get("data"), values.get("model")
    known = not any(isinstance(v, Unknown) for v in (models if isinstance(models, list) else [models]))
    if not isinstance(data, DataInfo) or data.size is None or not known:
        return Planned(notes=("depends on what an earlier stage finds",))
    options = {k: v for k, v in node.params.items() if k != "seed"}
    sizes = sizes_from_data(data)
    try:
        with on_fakes():
            context: Any = FakeContext(node.name, node.key, sizes)
            given: Any = models
            found: Any = predict(given, fake(replace(data, size=2), {}), context=context, **options)
    except InputError:
        raise
    except Exception:
        return Planned(notes=("its result's shape is known only when it has run",))
    axis = 1 if isinstance(models, list) else 0
    shapes = {name: artifact.values[""] for name, artifact in found.items()}
    rows = {n: (*v.shape[:axis], data.size, *v.shape[axis + 1 :]) for n, v in shapes.items()}
    return Planned({n: Column(rows[n], v.dtype) for n, v in shapes.items()})
