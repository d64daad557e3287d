"""A model's answers to all rows, kept as its likeliest classes alone, or as some that are drawn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.data.views import drawn_views, undrawn_views
from kdrun.errors import InputError
from kdrun.registry import label, shape_of
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count, Positive, Unsigned

__all__ = ["sampled_answers", "top_answers"]


@label(random=False)
def top_answers(
    model: Module,
    data: Dataset,
    *,
    k: Count,
    temperature: Positive = 1.0,
    column: str = "answer",
    draws: Count | None = None,
    view_seed: Unsigned = 0,
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """Add the model's ``k`` likeliest classes: of many classes a few hold nearly all that a teacher says, in a fraction of the room.

    New columns, named after ``column``: ``answer_classes`` [rows, k] (int64, the likeliest first), ``answer_shares`` [rows, k],
    their probabilities at ``temperature``, and ``answer_lost`` [rows], the probability of all other classes together; the run says
    its mean. For the op ``top_k_kl_divergence``. ``draws`` and ``view_seed`` are those of ``model_answer``. The model reads the column ``image`` (the first one, where there is none) in eval
    mode and gives logits [rows, classes]. Raises ``InputError`` for a ``k`` above the number of classes.
    """
    seen = data if draws is None else drawn_views(data, draws, seed=view_seed)
    probabilities = _probabilities(model, seen, temperature, batch_size, context)
    _refuse_beyond(k, probabilities, context)
    shares, classes = probabilities.topk(k, dim=1)
    lost = (1 - shares.sum(1)).clamp_min(0)
    said = f"{k} of {probabilities.shape[1]} classes kept, mean probability lost {lost.mean():.2g}"
    context.reporter.message(f"{context.name}: {said}")
    return seen.with_columns(_columns(column, classes, shares.float(), lost.float()))


@label
def sampled_answers(
    model: Module,
    data: Dataset,
    *,
    k: Count,
    temperature: Positive = 1.0,
    flatter: Positive = 1.0,
    column: str = "answer",
    draws: Count | None = None,
    view_seed: Unsigned = 0,
    batch_size: Count = 512,
    context: Context,
    generator: torch.Generator,
) -> Dataset:
    """Add ``k`` classes drawn from what the model says, with weights whose mean over draws is its distribution (Sparse Logit Sampling, 2025).

    ``k`` classes are drawn with replacement from ``q ∝ p^(1 / flatter)``, ``p`` the probabilities at ``temperature``; each weighs ``p / q / k``.
    So a sum over them is an unbiased estimate of one over all classes with weights ``p``: a cross-entropy or its gradient, for the op
    ``sparse_cross_entropy``; the likeliest classes alone (``top_answers``) leave the others out. With ``flatter`` 1 all weights are 1 / ``k``.
    New columns: ``answer_classes`` [rows, k] (int64) and ``answer_shares`` [rows, k]. The rest is as in ``top_answers``.
    """
    seen = data if draws is None else drawn_views(data, draws, seed=view_seed)
    p = _probabilities(model, seen, temperature, batch_size, context)
    q = p ** (1 / flatter)
    q = q / q.sum(1, keepdim=True)
    classes = torch.multinomial(q, k, replacement=True, generator=generator)
    weights = (p.gather(1, classes) / q.gather(1, classes) / k).float()
    return seen.with_columns({f"{column}_classes": classes, f"{column}_shares": weights})


def _probabilities(model: Module, data: Dataset, temperature: float, batch_size: int, context: Context) -> Tensor:
    """What the model says of each row, [rows, classes] (float64)."""
    logits = outputs_over(model, data, {}, input="image", batch_size=batch_size, context=context)["logits"]
    return (logits.double() / temperature).softmax(1)


def _refuse_beyond(k: int, probabilities: Tensor, context: Context) -> None:
    if k > probabilities.shape[1]:
        raise InputError(
            f"the model tells {probabilities.shape[1]} classes apart, of which {k} cannot be kept",
            key=f"{context.config_key}.k",
        )


def _columns(column: str, classes: Tensor, shares: Tensor, lost: Tensor) -> dict[str, Tensor]:
    return {f"{column}_classes": classes, f"{column}_shares": shares, f"{column}_lost": lost}


@shape_of("label", "top_answers")
def top_answers_shape(
    model: Module, data: Dataset, *, k: int, column: str = "answer", draws: int | None = None, **_: object
) -> Dataset:
    """As many rows, ``draws`` times if they are views, and ``k`` answers each."""
    classes, shares = _kept(len(data) * (draws or 1), k)
    return undrawn_views(data, draws).with_columns(_columns(column, classes, shares, shares[:, 0]))


@shape_of("label", "sampled_answers")
def sampled_answers_shape(
    model: Module, data: Dataset, *, k: int, column: str = "answer", draws: int | None = None, **_: object
) -> Dataset:
    """As many rows, ``draws`` times if they are views, and ``k`` answers each."""
    classes, shares = _kept(len(data) * (draws or 1), k)
    return undrawn_views(data, draws).with_columns({f"{column}_classes": classes, f"{column}_shares": shares})


def _kept(rows: int, k: int) -> tuple[Tensor, Tensor]:
    return torch.empty(rows, k, dtype=torch.int64), torch.empty(rows, k)
