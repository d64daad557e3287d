"""Parts of the ``label`` stage: data set to data set, with labels from somewhere else."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import label
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count

__all__ = ["column_values", "model_answer", "stacked_features"]


@label
def column_values(data: Dataset, values: Tensor, *, column: str) -> Dataset:
    """The data with ``values`` [rows, ...] as a column, added or replaced.

    Raises ``InputError`` if there is not one value a row.
    """
    if len(values) != len(data):
        raise InputError(f"'{column}' needs one value a row: got {len(values)} for {len(data)} rows")
    return data.with_columns({column: values})


@label(random=False)
def model_answer(
    model: Module,
    data: Dataset,
    *,
    column: str = "label",
    soft: bool = False,
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """Label each row by the model's most likely class, or (``soft``) by its probabilities, [rows, classes]."""
    columns = outputs_over(model, data, {}, input="image", batch_size=batch_size, context=context)
    probabilities = columns["logits"].softmax(-1)
    answer = probabilities if soft else probabilities.argmax(-1)
    return data.with_columns({column: answer}, classes=probabilities.shape[1])


@label(random=False)
def stacked_features(
    models: list[Module],
    data: Dataset,
    *,
    column: str = "sources",
    tap: str = "feature",
    input: str = "image",
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """What several frozen models say of each row at ``tap``, as one column [rows, models, ...], in the models' order.

    The models are in eval mode and the data in plain order, without augmentation; features agree in shape.
    """
    found = [
        outputs_over(model, data, {"tapped": tap}, input=input, batch_size=batch_size, context=context)["tapped"]
        for model in models
    ]
    return data.with_columns({column: torch.stack(found, dim=1)})
