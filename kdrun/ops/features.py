"""Losses between features and feature maps of a student and a teacher.

No function detaches its inputs unless its text says so: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_maps, require_same_batch, require_same_shape
from kdrun.ops.divergences import kl_divergence
from kdrun.ops.tensors import resize_maps
from kdrun.registry import op
from kdrun.types import Count, Positive

__all__ = [
    "activation_boundary_loss",
    "attention_transfer",
    "cosine_feature_loss",
    "disagreement_weights",
    "factor_transfer_loss",
    "feature_mse",
    "gaussian_nll",
    "heteroscedastic_l2",
    "hierarchical_context_loss",
    "l1_feature_loss",
    "log_power_feature_loss",
    "mean_squared_error",
    "norm_direction_loss",
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
    """Squared error of features of one shape [batch, ...] (FitNets: Romero et al., 2015).

    ``weights`` [batch] (or more leading axes) multiply the squares. ``mean`` is over all elements, ``batch_mean``
    sums over features and averages over rows, ``weighted_mean`` divides by the sum of the weights (a mask), and
    ``divided_mean`` is the mean divided by the batch size once more; ``none`` gives each row's mean. With
    ``match_size`` the larger of two maps [batch, channels, h, w] is average-pooled to the smaller.
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
    """Squared error of predictions and targets of one shape [batch, ...]; reductions as in ``feature_mse``."""
    require_same_shape(prediction, target, "prediction and target")
    return _reduce((prediction - target).square(), weights, reduction)


@op
def l1_feature_loss(
    student: Tensor,
    teacher: Tensor,
    weights: Tensor | None = None,
    *,
    reduction: Literal["mean", "sum", "batch_mean", "weighted_mean", "none"] = "mean",
) -> Tensor:
    """Absolute error of features of one shape [batch, ...]; reductions as in ``feature_mse``."""
    require_same_shape(student, teacher)
    return _reduce((student - teacher).abs(), weights, reduction)


@op
def disagreement_weights(student_logits: Tensor, teacher_logits: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``sigmoid(‖z_s - z_t + eps‖₂)`` of each row, in [0.5, 1) (Tang et al., 2023): [batch], without a gradient."""
    require_same_shape(student_logits, teacher_logits)
    return (student_logits - teacher_logits + eps).norm(dim=1).sigmoid().detach()


@op
def attention_transfer(student: Tensor, teacher: Tensor, *, mode: Literal["code", "paper"] = "code") -> Tensor:
    """Distance of spatial attention maps (Zagoruyko & Komodakis, 2017); channels may differ, sizes are pooled to the smaller.

    Maps [batch, channels, h, w]. ``code``: attention is the L2-normalised channel mean of squares, and the loss
    the mean squared difference. ``paper``: it is the L2-normalised channel sum of squares, and the loss the L2
    norm of the difference, averaged over the batch.
    """
    require_maps(student, teacher)
    require_same_batch(student, teacher)
    student, teacher = resize_maps(student, teacher), resize_maps(teacher, student)
    difference = _attention(student) - _attention(teacher)
    if mode == "code":
        return difference.square().mean()
    return difference.norm(dim=1).mean()


def _attention(maps: Tensor) -> Tensor:
    return F.normalize(maps.square().mean(1).flatten(1), dim=1)


@op
def factor_transfer_loss(translator: Tensor, paraphraser: Tensor, *, p: Positive = 1.0) -> Tensor:
    """Mean ``|f_s - f_t|^p`` of factors flattened and L2-normalised a row (Kim et al., 2018, eq. 4); one shape [batch, ...]."""
    require_same_shape(translator, paraphraser, "translator and paraphraser")
    difference = F.normalize(translator.flatten(1), dim=1) - F.normalize(paraphraser.flatten(1), dim=1)
    return difference.abs().mean() if p == 1 else difference.abs().pow(p).mean()


@op
def activation_boundary_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    margin: Positive = 1.0,
    reduction: Literal["batch_mean", "sum"] = "batch_mean",
) -> Tensor:
    """Squared distance to the right side of the activation boundary, with a margin (Heo et al., 2019, eq. 5).

    Pre-activations of one shape [batch, ...]: ``(s+m)²`` where s > -m and t ≤ 0, plus ``(s-m)²`` where s ≤ m and
    t > 0, summed; ``batch_mean`` divides by the batch size.
    """
    require_same_shape(student, teacher)
    inactive = F.relu(student + margin).square() * (teacher <= 0)
    active = F.relu(margin - student).square() * (teacher > 0)
    total = (inactive + active).sum()
    return total / len(student) if reduction == "batch_mean" else total


@op
def hierarchical_context_loss(student: Tensor, teacher: Tensor, *, output_sizes: list[Count] = (4, 2, 1)) -> Tensor:  # type: ignore[assignment]
    """Squared error at full size and after average-pooling to each of ``output_sizes`` (Chen et al., 2021, ReviewKD).

    Maps of one shape [batch, channels, h, w]. Sizes of h or more are skipped; full size weighs 1, the kept ones
    ½, ¼, ⅛ … in turn, and the sum is divided by the sum of the weights used.
    """
    require_same_shape(student, teacher)
    require_maps(student)
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for size in output_sizes:
        if size >= student.shape[2]:
            continue
        weight /= 2
        pooled = F.adaptive_avg_pool2d(student, size) - F.adaptive_avg_pool2d(teacher, size)
        loss = loss + weight * pooled.square().mean()
        total += weight
    return loss / total


@op
def gaussian_nll(mean: Tensor, variance: Tensor, teacher: Tensor) -> Tensor:
    """Mean ``½((mean - teacher)²/variance + log variance)`` (variational information: Ahn et al., 2019, eq. 5).

    ``mean`` and ``teacher`` of one shape [batch, channels, ...]; ``variance`` positive, broadcast to them
    ([1, channels, 1, 1] for maps).
    """
    require_same_shape(mean, teacher, "mean and teacher")
    return 0.5 * ((mean - teacher).square() / variance + variance.log()).mean()


@op
def heteroscedastic_l2(student: Tensor, teacher: Tensor, log_variance: Tensor, *, eps: Positive = 1e-6) -> Tensor:
    """Mean ``(t - s)²/(eps + exp(v)) + v`` with v ``log_variance`` (Zhang et al., 2020); all [batch, dim], no factor ½."""
    require_same_shape(student, teacher)
    return ((teacher - student).square() / (eps + log_variance.exp()) + log_variance).mean()


@op
def norm_direction_loss(
    student: Tensor,
    teacher: Tensor,
    class_means: Tensor,
    labels: Tensor,
    *,
    mode: Literal["norm_and_direction", "direction", "norm", "instance_direction"] = "norm_and_direction",
) -> Tensor:
    """Pull a feature towards its class mean's direction, and its norm up to the teacher's (Wang et al., 2023).

    ``student`` and ``teacher`` [batch, dim], ``class_means`` [classes, dim] (divided by their norms here),
    ``labels`` [batch]. Mean over rows of ``1 - <s, e_y> / max(|s|, |t|)``: 0 exactly when the student's
    feature has its class mean's direction and at least the teacher's norm. Other modes are its parts:
    ``direction`` 1 - cos(s, e_y), ``norm`` -min(|s|/|t|, 1), ``instance_direction`` 1 - cos(s, t).
    Teacher and means are constants: only the student gets a gradient.
    """
    require_same_shape(student, teacher)
    teacher, direction = teacher.detach(), F.normalize(class_means.detach(), dim=1)[labels]
    norm, teacher_norm = student.norm(dim=1), teacher.norm(dim=1).clamp_min(1e-12)
    if mode == "norm":
        return -(norm / teacher_norm).clamp(max=1).mean()
    if mode == "norm_and_direction":
        return (1 - (student * direction).sum(1) / torch.maximum(norm, teacher_norm)).mean()
    target = direction if mode == "direction" else F.normalize(teacher, dim=1)
    return (1 - (F.normalize(student, dim=1) * target).sum(1)).mean()


@op
def cosine_feature_loss(
    student: Tensor, teacher: Tensor, *, dim: int = 1, reduction: Literal["sum", "mean", "batch_mean"] = "sum"
) -> Tensor:
    """``1 - cos`` along an axis, summed over samples and pixels (Liu et al., 2020); features of one shape [batch, channels, ...]."""
    require_same_shape(student, teacher)
    distance = 1 - (F.normalize(student, dim=dim) * F.normalize(teacher, dim=dim)).sum(dim)
    if reduction == "batch_mean":
        return distance.sum() / len(student)
    return distance.sum() if reduction == "sum" else distance.mean()


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

    ``student`` and ``teacher`` [batch, dim], already projected and normalised; logits [batch, classes], without
    which there is no KL term (batch mean, no T²). The logarithm goes to -∞ as s approaches t; it stops at the
    smallest normal number, where the gradient is 0.
    """
    require_same_shape(student, teacher)
    total = (student - teacher).abs().pow(exponent).sum()
    loss = 2 * total.clamp_min(torch.finfo(total.dtype).tiny).log()
    if student_logits is None or teacher_logits is None:
        return loss
    return loss + kl_divergence(student_logits, teacher_logits, temperature=temperature)
