"""Losses between features and feature maps of a student and a teacher: attention, activations, direction and norm.

No function detaches its inputs unless its text says so: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_maps, require_same_batch, require_same_shape
from kdrun.ops.maps import resize_maps
from kdrun.registry import op
from kdrun.types import Count, Positive

__all__ = [
    "activation_boundary_loss",
    "attention_transfer",
    "cosine_feature_loss",
    "factor_transfer_loss",
    "hierarchical_context_loss",
    "norm_direction_loss",
]


@op
def attention_transfer(student: Tensor, teacher: Tensor, *, mode: Literal["code", "paper"] = "code") -> Tensor:
    """Distance of spatial attention maps (Zagoruyko & Komodakis, 2017): a scalar.

    Maps [batch, channels, h, w]; channels may differ, sizes are pooled to the smaller. ``code``: attention is the
    L2-normalised channel mean of squares, and the loss the mean squared difference. ``paper``: it is the L2-normalised
    channel sum of squares, and the loss the L2 norm of the difference, averaged over the batch. Raises ``ValueError``
    for other shapes or batches.

    >>> teacher = torch.tensor([[[[3.0, 0.0], [0.0, 0.0]]]])  # looks at the first pixel
    >>> ops.attention_transfer(9 * teacher, teacher), ops.attention_transfer(teacher.flip(3), teacher, mode="paper")
    (tensor(0.), tensor(1.4142))
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
    """Mean ``|f_s - f_t|^p`` of factors that are L2-normalised a row (Kim et al., 2018, eq. 4): a scalar.

    Factors of one shape [batch, ...], flattened here. Raises ``ValueError`` if shapes differ.

    >>> ops.factor_transfer_loss(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
    tensor(0.2000)
    """
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

    Pre-activations of one shape [batch, ...]: ``(s+m)²`` where s > -m and t ≤ 0, plus ``(s-m)²`` where s ≤ m and t > 0,
    summed; ``batch_mean`` divides by the batch size. Raises ``ValueError`` if shapes differ.

    >>> ops.activation_boundary_loss(torch.tensor([[2.0, -2.0]]), torch.tensor([[0.1, -5.0]]))  # right, by the margin
    tensor(0.)
    >>> ops.activation_boundary_loss(torch.tensor([[-1.0, 0.0]]), torch.tensor([[0.1, -5.0]]))
    tensor(5.)
    """
    require_same_shape(student, teacher)
    inactive = F.relu(student + margin).square() * (teacher <= 0)
    active = F.relu(margin - student).square() * (teacher > 0)
    total = (inactive + active).sum()
    return total / len(student) if reduction == "batch_mean" else total


@op
def hierarchical_context_loss(student: Tensor, teacher: Tensor, *, output_sizes: list[Count] = (4, 2, 1)) -> Tensor:  # type: ignore[assignment]
    """Squared error at full size and after average-pooling to each of ``output_sizes`` (Chen et al., 2021, ReviewKD).

    Maps of one shape [batch, channels, h, w]. Sizes of h or more are skipped; full size weighs 1, the kept ones ½, ¼, ⅛
    … in turn, and the sum is divided by the sum of the weights used. Raises ``ValueError`` for other shapes.

    >>> student, teacher = torch.tensor([[[[2.0, 0.0], [0.0, 2.0]]]]), torch.ones(1, 1, 2, 2)
    >>> ops.hierarchical_context_loss(student, teacher)  # 1 at full size, 0 for the pooled mean: (1 + ½·0) / 1.5
    tensor(0.6667)
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
def cosine_feature_loss(
    student: Tensor, teacher: Tensor, *, dim: int = 1, reduction: Literal["sum", "mean", "batch_mean"] = "sum"
) -> Tensor:
    """``1 - cos`` along an axis, summed over samples and pixels (Liu et al., 2020).

    Features of one shape [batch, channels, ...]. ``mean`` averages over samples and pixels, ``batch_mean`` over samples
    alone. Raises ``ValueError`` if shapes differ.

    >>> student, teacher = torch.tensor([[5.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> ops.cosine_feature_loss(student, teacher), ops.cosine_feature_loss(student, teacher, reduction="mean")
    (tensor(1.), tensor(0.5000))
    """
    require_same_shape(student, teacher)
    distance = 1 - (F.normalize(student, dim=dim) * F.normalize(teacher, dim=dim)).sum(dim)
    if reduction == "batch_mean":
        return distance.sum() / len(student)
    return distance.sum() if reduction == "sum" else distance.mean()


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

    ``student`` and ``teacher`` [batch, dim], ``class_means`` [classes, dim] (divided by their norms here), ``labels``
    [batch] (int64). Mean over rows of ``1 - <s, e_y> / max(|s|, |t|)``: 0 exactly when the student's feature has its
    class mean's direction and at least the teacher's norm. Other modes are its parts: ``direction`` 1 - cos(s, e_y),
    ``norm`` -min(|s|/|t|, 1), ``instance_direction`` 1 - cos(s, t). Teacher and means are constants: only the student
    gets a gradient. Raises ``ValueError`` if student and teacher differ in shape.

    >>> teacher, means, labels = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    >>> ops.norm_direction_loss(torch.tensor([[3.0, 0.0]]), teacher, means, labels)
    tensor(0.)
    >>> ops.norm_direction_loss(torch.tensor([[1.0, 0.0]]), teacher, means, labels)  # half as long as the teacher's
    tensor(0.5000)
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
