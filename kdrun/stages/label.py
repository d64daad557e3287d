"""Parts of the ``label`` stage: data set to data set, with labels from somewhere else."""

from __future__ import annotations

import torch
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.engine.context import Context
from kdrun.registry import label
from kdrun.stages.evaluate import outputs_over
from kdrun.types import Count

__all__ = ["model_answer", "stacked_features"]


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


@label
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
