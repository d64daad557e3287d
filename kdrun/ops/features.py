"""Losses between features and feature maps of a student and a teacher.

No function detaches its inputs: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op

__all__ = ["attention_transfer", "feature_mse", "norm_direction_loss"]


def resize_to(maps: Tensor, other: Tensor) -> Tensor:
    """Average-pool maps [batch, channels, h, w] to the size of the smaller of the two."""
    size = min(maps.shape[-1], other.shape[-1])
    return maps if maps.shape[-1] == size else F.adaptive_avg_pool2d(maps, size)


@op
def feature_mse(
    student: Tensor,
    teacher: Tensor,
    *,
    reduction: Literal["mean", "sum", "batch_mean"] = "mean",
    match_size: bool = False,
) -> Tensor:
    """Squared error of features of one shape; ``batch_mean`` sums over features and averages over rows.

    With ``match_size`` the larger of two maps [batch, channels, h, w] is average-pooled to the smaller
    (FitNets: Romero et al., 2015).
    """
    if match_size:
        student, teacher = resize_to(student, teacher), resize_to(teacher, student)
    squared = (student - teacher).square()
    if reduction == "batch_mean":
        return squared.sum() / len(student)
    return squared.sum() if reduction == "sum" else squared.mean()


@op
def attention_transfer(student: Tensor, teacher: Tensor, *, mode: Literal["code", "paper"] = "code") -> Tensor:
    """Distance of spatial attention maps (Zagoruyko & Komodakis, 2017); channels may differ, sizes are pooled to the smaller.

    Maps [batch, channels, h, w]. ``code``: attention is the L2-normalised channel mean of squares, and the loss
    the mean squared difference. ``paper``: it is the L2-normalised channel sum of squares, and the loss the L2
    norm of the difference, averaged over the batch.
    """
    student, teacher = resize_to(student, teacher), resize_to(teacher, student)
    difference = _attention(student) - _attention(teacher)
    if mode == "code":
        return difference.square().mean()
    return difference.norm(dim=1).mean()


def _attention(maps: Tensor) -> Tensor:
    return F.normalize(maps.square().mean(1).flatten(1), dim=1)


@op
def norm_direction_loss(student: Tensor, teacher: Tensor, class_means: Tensor, labels: Tensor) -> Tensor:
    """Pull a feature towards its class mean's direction, and its norm up to the teacher's (Wang et al., 2023).

    ``student`` and ``teacher`` [batch, dim], ``class_means`` [classes, dim] (divided by their norms here),
    ``labels`` [batch]. Mean over rows of ``1 - <s, e_y> / max(|s|, |t|)``: 0 exactly when the student's
    feature has its class mean's direction and at least the teacher's norm.
    """
    direction = F.normalize(class_means, dim=1)[labels]
    longest = torch.maximum(student.norm(dim=1), teacher.norm(dim=1))
    return (1 - (student * direction).sum(1) / longest).mean()
