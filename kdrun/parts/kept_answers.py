"""A model's answers to all rows, kept as its likeliest classes alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import label, shape_of
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count, Positive

__all__ = ["top_answers"]


@label(random=False)
def top_answers(
    model: Module,
    data: Dataset,
    *,
    k: Count,
    temperature: Positive = 1.0,
    column: str = "answer",
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """Add the model's ``k`` likeliest classes: of many classes a few hold nearly all that a teacher says, in a fraction of the room.

    New columns, named after ``column``: ``answer_classes`` [rows, k] (int64, the likeliest first), ``answer_shares`` [rows, k],
    their probabilities at ``temperature``, and ``answer_lost`` [rows], the probability of all other classes together; the run says
    its mean. For the op ``top_k_kl_divergence``. The model reads the column ``image`` (the first one, where there is none) in eval
    mode and gives logits [rows, classes]. Raises ``InputError`` for a ``k`` above the number of classes.
    """
    logits = outputs_over(model, data, {}, input="image", batch_size=batch_size, context=context)["logits"]
    if k > logits.shape[1]:
        raise InputError(
            f"the model tells {logits.shape[1]} classes apart, of which {k} cannot be kept",
            key=f"{context.config_key}.k",
        )
    shares, classes = (logits.double() / temperature).softmax(1).topk(k, dim=1)
    lost = (1 - shares.sum(1)).clamp_min(0)
    said = f"{k} of {logits.shape[1]} classes kept, mean probability lost {lost.mean():.2g}"
    context.reporter.message(f"{context.name}: {said}")
    return data.with_columns(_columns(column, classes, shares.float(), lost.float()))


def _columns(column: str, classes: Tensor, shares: Tensor, lost: Tensor) -> dict[str, Tensor]:
    return {f"{column}_classes": classes, f"{column}_shares": shares, f"{column}_lost": lost}


@shape_of("label", "top_answers")
def top_answers_shape(
    model: Module, data: Dataset, *, k: int, temperature: float = 1.0, column: str = "answer", batch_size: int = 512
) -> Dataset:
    """As many rows, ``k`` answers each."""
    classes, shares = torch.empty(len(data), k, dtype=torch.int64), torch.empty(len(data), k)
    return data.with_columns(_columns(column, classes, shares, torch.empty(len(data))))
