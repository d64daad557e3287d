"""Parts of the ``label`` stage: data set to data set, with labels from somewhere else."""

from __future__ import annotations

from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.engine.context import Context
from kdrun.errors import InputError
from kdrun.registry import label
from kdrun.stages.evaluate import outputs_over
from kdrun.types import Count

__all__ = ["column_values", "model_answer"]


@label
def column_values(data: Dataset, values: Tensor, *, column: str) -> Dataset:
    """The data with ``values`` [rows, ...] as a column, added or replaced.

    Raises ``InputError`` if there is not one value a row.
    """
    if len(values) != len(data):
        raise InputError(f"'{column}' needs one value a row: got {len(values)} for {len(data)} rows")
    return data.with_columns({column: values})


@label
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
