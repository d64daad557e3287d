"""Losses on elementwise differences: squares, absolute values, powers, and Gaussian likelihoods.

No function detaches its inputs: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.ops.checks import require_same_shape
from kdrun.ops.divergences import kl_divergence
from kdrun.ops.maps import resize_maps
from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import Positive

__all__ = [
    "feature_mse",
    "gaussian_nll",
    "heteroscedastic_l2",
    "l1_feature_loss",
    "log_power_feature_loss",
    "mean_squared_error",
    "probability_mse",
    "weighted_mse",
]


def _reduce(values: Tensor, weights: Tensor | None, reduction: str) -> Tensor:
    """Reduce elementwise losses [batch, ...] with weights of the leading axes; see ``feature_mse``."""
    counted: Tensor | float = values.numel()
    if weights is not None:
        spread = weights.reshape(*weights.shape, *(1,) * (values.dim() - weights.dim()))
        values = values * spread
        counted = spread.expand_as(values).sum().clamp_min(torch.finfo(values.dtype).tiny)
    if reduction == "none":
        return values.flatten(1).mean(1)
    if reduction == "sum":
        return values.sum()
    if reduction == "batch_mean":
        return values.sum() / len(values)
    if reduction == "weighted_mean":
        return values.sum() / counted
    return values.mean() / len(values) if reduction == "divided_mean" else values.mean()


@op
def feature_mse(
    student: Tensor,
    teacher: Tensor,
    weights: Tensor | None = None,
    *,
    reduction: Literal["mean", "sum", "batch_mean", "weighted_mean", "divided_mean", "none"] = "mean",
    match_size: bool = False,
) -> Tensor:
    """Squared error ``(s - t)²`` of features of one shape [batch, ...] (FitNets: Romero et al., 2015).

    ``weights`` [batch] (or more leading axes) multiply the squares. ``mean`` is over all elements, ``batch_mean`` sums
    over features and averages over rows, ``weighted_mean`` divides by the sum of the weights (a mask), and
    ``divided_mean`` is the mean divided by the batch size once more; ``none`` gives each row's mean, [batch]. With
    ``match_size`` the larger of two maps [batch, channels, h, w] is average-pooled to the smaller. Raises
    ``ValueError`` if shapes differ.

    >>> student, teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 4.0], [0.0, 0.0]])
    >>> ops.feature_mse(student, teacher), ops.feature_mse(student, teacher, reduction="batch_mean")
    (tensor(1.), tensor(2.))
    >>> ops.feature_mse(student, teacher, torch.tensor([1.0, 0.0]), reduction="weighted_mean")
    tensor(2.)
    """
    if match_size:
        student, teacher = resize_maps(student, teacher), resize_maps(teacher, student)
    require_same_shape(student, teacher)
    return _reduce((student - teacher).square(), weights, reduction)


@op
def mean_squared_error(
    prediction: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    reduction: Literal["mean", "sum", "batch_mean", "weighted_mean", "none"] = "mean",
) -> Tensor:
    """Squared error ``(prediction - target)²`` of one shape [batch, ...]; weights and reductions as in ``feature_mse``.

    Raises ``ValueError`` if shapes differ: nothing is broadcast.

    >>> ops.mean_squared_error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    require_same_shape(prediction, target, "prediction and target")
    return _reduce((prediction - target).square(), weights, reduction)


@op
def weighted_mse(first: Tensor, second: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean square difference over each row, then the mean over rows of ``weights`` times that: a scalar.

    ``first`` and ``second`` [batch, ...] of one shape, ``weights`` [batch]; not divided by their sum.

    >>> first, second = torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    >>> ops.weighted_mse(first, second), ops.weighted_mse(first, second, torch.tensor([1.0, 0.5]))
    (tensor(2.5000), tensor(1.5000))
    """
    squares = (first - second).square().flatten(1).mean(1)
    return squares.mean() if weights is None else (weights * squares).mean()


@op
def l1_feature_loss(
    student: Tensor,
    teacher: Tensor,
    weights: Tensor | None = None,
    *,
    reduction: Literal["mean", "sum", "batch_mean", "weighted_mean", "none"] = "mean",
) -> Tensor:
    """Absolute error ``|s - t|`` of features of one shape [batch, ...]; weights and reductions as in ``feature_mse``.

    Raises ``ValueError`` if shapes differ.

    >>> ops.l1_feature_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 5.0]]))
    tensor(1.5000)
    """
    require_same_shape(student, teacher)
    return _reduce((student - teacher).abs(), weights, reduction)


@op
def probability_mse(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Squared error of probabilities, summed over classes and averaged over the rows that ``mask`` keeps: from 0 to 2.

    ``first`` and ``second`` [batch, ..., classes], ``mask`` [batch, ...] (bool). Raises ``ValueError`` if shapes
    differ.

    >>> first, second = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    >>> ops.probability_mse(first, second), ops.probability_mse(first, second, torch.tensor([True, False]))
    (tensor(1.), tensor(2.))
    """
    require_same_shape(first, second, "the two predictions")
    return reduce_rows((first - second).square().sum(-1), "mean", mask=mask)


@op
def gaussian_nll(mean: Tensor, variance: Tensor, teacher: Tensor) -> Tensor:
    """Mean ``½((mean - teacher)²/variance + log variance)`` (variational information: Ahn et al., 2019, eq. 5).

    The negative log likelihood of the teacher's features under normal laws, up to a constant. ``mean`` and ``teacher``
    of one shape [batch, channels, ...]; ``variance`` positive, broadcast to them ([1, channels, 1, 1] for maps). Raises
    ``ValueError`` if mean and teacher differ in shape.

    >>> ops.gaussian_nll(torch.tensor([[0.0, 0.0]]), torch.tensor([1.0, 1.0]), torch.tensor([[2.0, 0.0]]))
    tensor(1.)
    """
    require_same_shape(mean, teacher, "mean and teacher")
    return 0.5 * ((mean - teacher).square() / variance + variance.log()).mean()


@op
def heteroscedastic_l2(student: Tensor, teacher: Tensor, log_variance: Tensor, *, eps: Positive = 1e-6) -> Tensor:
    """Mean ``(t - s)²/(eps + exp(v)) + v`` with v the ``log_variance`` (Zhang et al., 2020); no factor ½.

    All [batch, dim]: where the student cannot follow, it may say so by a larger variance, at the price v. Raises
    ``ValueError`` if student and teacher differ in shape.

    >>> student, teacher = torch.tensor([[0.0]]), torch.tensor([[3.0]])
    >>> ops.heteroscedastic_l2(student, teacher, torch.tensor([[0.0]]))
    tensor(9.0000)
    >>> ops.heteroscedastic_l2(student, teacher, torch.tensor([[2.0]]))  # 9 e⁻² + 2
    tensor(3.2180)
    """
    require_same_shape(student, teacher)
    return ((teacher - student).square() / (eps + log_variance.exp()) + log_variance).mean()


@op
def log_power_feature_loss(
    student: Tensor,
    teacher: Tensor,
    student_logits: Tensor | None = None,
    teacher_logits: Tensor | None = None,
    *,
    exponent: Positive = 4.0,
    temperature: Positive = 1.0,
) -> Tensor:
    """``2·log Σ|s - t|^exponent`` over the batch and all features, plus KL(teacher ‖ student) (Miles et al., 2024).

    ``student`` and ``teacher`` [batch, dim], already projected and normalised; logits [batch, classes], without which
    there is no KL term (batch mean, no T²). The logarithm goes to -∞ as s approaches t; it stops at the smallest normal
    number, where the gradient is 0. Raises ``ValueError`` if shapes differ.

    >>> ops.log_power_feature_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))  # 2 ln 2
    tensor(1.3863)
    """
    require_same_shape(student, teacher)
    total = (student - teacher).abs().pow(exponent).sum()
    loss = 2 * total.clamp_min(torch.finfo(total.dtype).tiny).log()
    if student_logits is None or teacher_logits is None:
        return loss
    return loss + kl_divergence(student_logits, teacher_logits, temperature=temperature)
