"""Counts and means over the rows of a data set, and over numbers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.registry import reduce
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count

__all__ = ["class_counts", "class_mean", "root_mean_square"]


@reduce(scored=("data",))
def class_counts(data: Dataset) -> Tensor:
    """How many rows each class has: [classes], float32. Reads ``label`` [rows] (int64).

    >>> pool = data.MemoryDataset({"label": torch.tensor([0, 2, 2])}, data.DataInfo({}, classes=4))
    >>> parts.class_counts(pool)
    tensor([1., 0., 2., 0.])
    """
    labels = data.rows()["label"]
    classes = data.info.classes or int(labels.max()) + 1
    return torch.zeros(classes).index_add_(0, labels, torch.ones(len(labels)))


@reduce
def root_mean_square(values: Tensor) -> Tensor:
    """The root of the mean square of all elements: a scalar, ``sqrt(mean(x²))`` (float32, summed in float64).

    >>> parts.root_mean_square(torch.tensor([3.0, -3.0, 3.0]))
    tensor(3.)
    """
    return values.double().square().mean().sqrt().float()


@reduce
def class_mean(
    model: Module,
    data: Dataset,
    *,
    of: Literal["feature", "logits", "probabilities"] = "feature",
    tap: str = "feature",
    normalize: bool = False,
    permute: bool = False,
    batch_size: Count = 512,
    context: Context,
    generator: torch.Generator,
) -> Tensor:
    """Mean feature (or logits, or probabilities) of each class: [classes, dim] (float32).

    ``model`` reads the column ``image``; features, at ``tap``, are flattened. It is in eval mode and the data in plain order,
    without augmentation. A class without rows is zero. ``normalize`` makes the means unit vectors. ``permute`` deals the means
    out to wrong classes (a cyclic shift of a random order): a control.
    """
    taps = {"feature": tap} if of == "feature" else {}
    columns = outputs_over(model, data, taps, input="image", batch_size=batch_size, context=context)
    values = columns["logits"].softmax(-1) if of == "probabilities" else columns[of]
    values = values.flatten(1)
    classes = data.info.classes or int(columns["label"].max()) + 1
    sums = torch.zeros(classes, values.shape[1]).index_add_(0, columns["label"], values)
    counts = torch.zeros(classes).index_add_(0, columns["label"], torch.ones(len(values)))
    means = sums / counts.clamp_min(1)[:, None]
    if normalize:
        means = torch.nn.functional.normalize(means, dim=1)
    if permute:
        order = torch.randperm(classes, generator=generator)
        means[order] = means[order.roll(1)]
    return means
