"""Losses on correlations and covariances of two networks' outputs. No function detaches its inputs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_maps, require_rows, require_same_batch, require_same_shape
from kdrun.registry import op
from kdrun.types import NonNegative, Positive

__all__ = ["channel_correlation_loss", "direction_covariance_loss", "pearson_relation_loss", "spatial_correlation_loss"]


@op
def pearson_relation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    beta: NonNegative = 2.0,
    gamma: NonNegative = 2.0,
    temperature: Positive = 1.0,
) -> Tensor:
    """Correlation distillation ``T²·(β·inter + γ·intra)`` (Huang et al., 2022): a scalar.

    ``inter`` is one minus the mean Pearson correlation over rows of both predictions, ``intra`` that over columns,
    classes across the batch. Logits [batch, classes] of softmax(z/T); no cross-entropy inside. A constant row or column
    correlates 0. Raises ``ValueError`` if shapes differ.

    >>> teacher = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
    >>> ops.pearson_relation_loss(teacher, teacher)
    tensor(0.)
    >>> ops.pearson_relation_loss(teacher.flip(0), teacher)
    tensor(7.5260)
    """
    require_same_shape(student_logits, teacher_logits)
    student, teacher = (student_logits / temperature).softmax(1), (teacher_logits / temperature).softmax(1)
    inter = 1 - _pearson(student, teacher, 1).mean()
    intra = 1 - _pearson(student, teacher, 0).mean()
    return temperature**2 * (beta * inter + gamma * intra)


def _pearson(first: Tensor, second: Tensor, dim: int) -> Tensor:
    first, second = (value - value.mean(dim, keepdim=True) for value in (first, second))
    return (F.normalize(first, dim=dim) * F.normalize(second, dim=dim)).sum(dim)


@op
def channel_correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the mean Pearson correlation over channels at each pixel: a scalar from 0 to 2.

    Maps of one shape [batch, channels, h, w]; scale and shift of a pixel's channels make no difference. Raises
    ``ValueError`` for other shapes.

    >>> teacher = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    >>> bool(ops.channel_correlation_loss(10 * teacher - 7, teacher) < 1e-6)
    True
    >>> ops.channel_correlation_loss(-teacher, teacher)
    tensor(2.)
    """
    require_same_shape(student, teacher)
    require_maps(student)
    return 1 - _pearson(student, teacher, 1).mean()


@op
def spatial_correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the mean Pearson correlation over pixels of channel-summed maps: a scalar from 0 to 2.

    Maps [batch, channels, h, w] of one size; channels may differ. Raises ``ValueError`` for other shapes.

    >>> teacher = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> bool(ops.spatial_correlation_loss(torch.cat([teacher, teacher], dim=1), teacher) < 1e-6)
    True
    >>> ops.spatial_correlation_loss(teacher.flip(2, 3), teacher)
    tensor(2.0000)
    """
    require_maps(student, teacher)
    return 1 - _pearson(student.sum(1).flatten(1), teacher.sum(1).flatten(1), 1).mean()


@op
def direction_covariance_loss(student_logits: Tensor, teacher_logits: Tensor, *, ridge: Positive = 0.1) -> Tensor:
    """Mahalanobis length of the difference of cosine Gram matrices, averaged over the batch: a scalar.

    Logits [batch, classes], two rows or more; classes may differ. With rows L2-normalised, ``D = S Sᵀ - T Tᵀ`` [batch,
    batch] and ``Σ = Cov(D) + ridge·I`` over the rows of D (columns are variables, unbiased), the result is the mean
    over rows of ``sqrt(d Σ⁻¹ dᵀ)``, solved by Cholesky in at least single precision.

    >>> teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> ops.direction_covariance_loss(5 * teacher, teacher)  # lengths make no difference
    tensor(0.)
    >>> ops.direction_covariance_loss(torch.ones(2, 2), teacher)
    tensor(2.3355)
    """
    require_rows(student_logits, teacher_logits)
    require_same_batch(student_logits, teacher_logits)
    precision = torch.promote_types(student_logits.dtype, torch.float32)
    with torch.autocast(student_logits.device.type, enabled=False):
        student, teacher = (F.normalize(z.to(precision), dim=1) for z in (student_logits, teacher_logits))
        difference = student @ student.T - teacher @ teacher.T
        centred = difference - difference.mean(0)
        covariance = centred.T @ centred / (len(difference) - 1)
        identity = torch.eye(len(difference), dtype=precision, device=difference.device)
        factor = torch.linalg.cholesky(covariance + ridge * identity)
        whitened = torch.linalg.solve_triangular(factor, difference.T, upper=False)
        return whitened.norm(dim=0).mean()
