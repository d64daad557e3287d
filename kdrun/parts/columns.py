"""Columns of data sets: written, dealt out anew, or filled with what models say."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.data.views import drawn_views, undrawn_views
from kdrun.errors import InputError, nearest
from kdrun.registry import corrupt, label, shape_of
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count, Fraction, Unsigned

__all__ = ["added_perturbation", "column_values", "model_answer", "permuted_columns", "stacked_features"]


@label
def column_values(data: Dataset, values: Tensor, *, column: str) -> Dataset:
    """The data with ``values`` [rows, ...] as a column, added or replaced.

    Raises ``InputError`` if there is not one value a row.

    >>> pool = data.MemoryDataset({"label": torch.tensor([1, 0])}, data.DataInfo({}))
    >>> parts.column_values(pool, torch.tensor([0.2, 0.8]), column="weight").column("weight")
    tensor([0.2000, 0.8000])
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
    draws: Count | None = None,
    view_seed: Unsigned = 0,
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """Label each row by the model's most likely class [rows] (int64), or (``soft``) by its probabilities [rows, classes].

    With ``draws`` each row comes so many times, as views of its augmentation that ``view_seed`` draws and later stages see again, bit by
    bit; each is labelled by itself. The model reads the column ``image`` (the first one, where there is none) in eval mode and gives logits [rows, classes];
    the data then has as many classes as these.
    """
    seen = data if draws is None else drawn_views(data, draws, seed=view_seed)
    columns = outputs_over(model, seen, {}, input="image", batch_size=batch_size, context=context)
    probabilities = columns["logits"].softmax(-1)
    answer = probabilities if soft else probabilities.argmax(-1)
    return seen.with_columns({column: answer}, classes=probabilities.shape[1])


@shape_of("label", "model_answer")
def model_answer_shape(
    model: Module, data: Dataset, *, context: Context, draws: int | None = None, view_seed: int = 0, **options: Any
) -> Dataset:
    """As many rows, ``draws`` times if they are views."""
    return undrawn_views(model_answer(model, data, context=context, **options), draws)


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

    The models read the column ``input``; they are in eval mode and the data in plain order, without augmentation. Features
    agree in shape; they are float32.
    """
    found = [
        outputs_over(model, data, {"tapped": tap}, input=input, batch_size=batch_size, context=context)["tapped"]
        for model in models
    ]
    return data.with_columns({column: torch.stack(found, dim=1)})


@corrupt
def permuted_columns(data: Dataset, *, columns: list[str], generator: torch.Generator) -> Dataset:
    """The named columns dealt out to the rows anew, together, by one random permutation: what they say of the others is lost.

    Raises ``InputError`` for an unknown column.

    >>> columns = {"image": data.Column(()), "label": data.Column((), torch.int64)}
    >>> pool = data.MemoryDataset({"image": torch.arange(4.0), "label": torch.arange(4)}, data.DataInfo(columns))
    >>> spoilt = parts.permuted_columns(pool, columns=["label"], generator=torch.Generator().manual_seed(0))
    >>> spoilt.column("image"), spoilt.column("label")
    (tensor([0., 1., 2., 3.]), tensor([0, 1, 3, 2]))
    """
    missing = [name for name in columns if name not in data.info.columns]
    if missing:
        raise InputError(f"the data has no column '{missing[0]}'{nearest(missing[0], data.info.columns)}")
    found = [[batch[name] for name in columns] for batch in data.batches(64)]  # others may not fit into memory
    order = torch.randperm(len(data), generator=generator)
    return data.with_columns(
        {n: torch.cat(parts)[order] for n, parts in zip(columns, zip(*found, strict=True), strict=True)}
    )


@corrupt
def added_perturbation(
    data: Dataset,
    values: Tensor,
    *,
    share: Fraction = 1.0,
    of: str | None = None,
    column: str = "image",
    generator: torch.Generator,
) -> Dataset:
    """The data with ``clamp(x + v, 0, 1)`` for x in its ``column`` of images, pixels in [0, 1], in a random ``share`` of rows.

    ``values`` v [rows, ...] has a perturbation a row, or, where ``of`` names a column of whole numbers such as ``label``, the one at
    that place, which all rows of a class share. Which rows are left out depends on the generator alone, so that a larger
    share adds to a smaller one. Raises ``InputError`` if there are not as many perturbations as that takes.

    >>> columns = {"image": torch.full((2, 1), 0.5), "label": torch.tensor([1, 0])}
    >>> pool = data.MemoryDataset(columns, data.DataInfo({}))
    >>> values, drawn = torch.tensor([[0.25], [0.75]]), torch.Generator()
    >>> parts.added_perturbation(pool, values, of="label", generator=drawn).column("image").flatten()
    tensor([1.0000, 0.7500])
    """
    places = torch.arange(len(data)) if of is None else data.column(of)
    needed = int(places.max()) + 1 if len(data) else 0
    if len(values) < needed or (of is None and len(values) != len(data)):
        raise InputError(f"{needed} perturbations are needed, one for each {of or 'row'}: got {len(values)}")
    order = torch.randperm(len(data), generator=generator)
    image = data.column(column)
    chosen = (order < round(share * len(data))).view(-1, *[1] * (image.dim() - 1))
    return data.with_columns({column: torch.where(chosen, (image + values[places]).clamp(0, 1), image)})


@shape_of("corrupt", "added_perturbation")
def added_perturbation_shape(
    data: Dataset, values: Tensor, *, share: Fraction = 1.0, of: str | None = None, column: str = "image"
) -> Dataset:
    """The data with the column replaced by one of its own shape."""
    return data.with_columns({column: data.column(column)})
