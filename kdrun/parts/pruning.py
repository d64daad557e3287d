"""Parts of a data set that are kept: whole classes by score, rows in the middle of each class, and what rows are scored by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import Module
from torch.nn import functional as F

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import reduce, select, shape_of
from kdrun.runtime.context import Context
from kdrun.types import Count, Fraction

__all__ = ["middle_of_classes", "per_sample_gradient_norm", "top_classes"]


@select
def top_classes(scores: Tensor, data: Dataset, *, share: Fraction, largest: bool = True) -> Dataset:
    """All rows of the ``share`` of classes with the largest (or smallest) ``scores`` [classes], in the order of the data.

    Of equal scores the lower class is taken; one class is the least. Classes are numbered anew in their old order, and there are no
    others. Reads ``label`` [rows] (int64). Raises ``InputError`` unless there is a score for each class, or if none of their rows
    is there.

    >>> pool = data.MemoryDataset({"label": torch.tensor([0, 1, 2, 3, 2])}, data.DataInfo({}, classes=4))
    >>> parts.top_classes(torch.tensor([1.0, 0.0, 5.0, 0.0]), pool, share=0.5).column("label")
    tensor([0, 1, 1])
    """
    classes = _kept(scores, data, share)
    order = torch.argsort(scores, descending=largest, stable=True)
    places = torch.full((len(scores),), -1).index_put((order[:classes].sort().values,), torch.arange(classes))
    labels = places[data.column("label")]
    rows = (labels >= 0).nonzero().squeeze(1)
    if len(rows) == 0:
        raise InputError("no row is of the classes that are kept")
    return data.select(rows).with_columns({"label": labels[rows]}, classes=classes)


def _kept(scores: Tensor, data: Dataset, share: float) -> int:
    if data.info.classes is not None and scores.shape != (data.info.classes,):
        raise InputError(
            f"select by top_classes takes one score a class: got {list(scores.shape)} for {data.info.classes} classes"
        )
    return max(round(share * len(scores)), 1)


@shape_of("select", "top_classes")
def top_classes_shape(scores: Tensor, data: Dataset, *, share: Fraction, largest: bool = True) -> Dataset:
    """What a row is and how many classes there are; which rows are left is known only when it has run."""
    return data.with_columns({}, classes=_kept(scores, data, share))


@select
def middle_of_classes(scores: Tensor, data: Dataset, *, share: Fraction) -> Dataset:
    """The middle ``share`` of the rows of each class by rank of their ``scores`` [rows], in the order of the data.

    Of n rows by rising score those from ``round(n (1 - share) / 2)`` up to, and without, ``round(n (1 + share) / 2)``: what is neither
    typical nor far off (Xia et al., 2023). Reads ``label`` [rows] (int64). Raises ``InputError`` unless there is a score a row.

    >>> pool = data.MemoryDataset({"label": torch.tensor([0, 0, 0, 0, 1])}, data.DataInfo({}))
    >>> parts.middle_of_classes(torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0]), pool, share=0.5).column("index")
    tensor([1, 2, 4])
    """
    if scores.shape != (len(data),):
        raise InputError(f"one score a row is needed: got {list(scores.shape)} for {len(data)} rows")
    labels = data.column("label")
    kept = []
    for label in labels.unique():
        rows = (labels == label).nonzero().squeeze(1)
        ordered = rows[scores[rows].argsort(stable=True)]
        first, last = (round(len(rows) * (0.5 + side * share / 2)) for side in (-1, 1))
        kept.append(ordered[first:last])
    return data.select(torch.cat(kept).sort().values)


@shape_of("select", "middle_of_classes")
def middle_of_classes_shape(scores: Tensor, data: Dataset, *, share: Fraction) -> Dataset:
    """As many rows as the data at most."""
    return data


@reduce(random=False)
def per_sample_gradient_norm(
    model: Module, data: Dataset, *, input: str = "image", batch_size: Count = 64, context: Context
) -> Tensor:
    """The L2 norm of each row's gradient of the cross-entropy in all weights (GraNd: Paul et al., 2021): [rows] (float32).

    ``‖∂CE(f(x_i), y_i)/∂w‖₂`` of the columns ``input`` [rows, ...] and ``label`` [rows] (int64), the model in eval mode, so that rows
    do not see each other. ``batch_size`` rows at a time have a gradient each in memory.
    """
    model.eval()
    weights = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(held: dict[str, Tensor], row: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, {**held, **buffers}, (row[None],)), label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    norms = []
    for batch in data.batches(batch_size, device=context.device, workers=context.hardware.workers):
        gradients = each(weights, batch[input], batch["label"])
        squares = torch.stack([g.flatten(1).float().square().sum(1) for g in gradients.values()])
        norms.append(squares.sum(0).sqrt().cpu())
    return torch.cat(norms)


@shape_of("reduce", "per_sample_gradient_norm")
def per_sample_gradient_norm_shape(model: Module, data: Dataset, **options: Any) -> Tensor:
    """A number a row."""
    return torch.zeros(len(data))
