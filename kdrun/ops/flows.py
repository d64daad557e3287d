"""Losses on flow matrices: products of feature maps of two layers. No function detaches its inputs."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_maps
from kdrun.registry import op
from kdrun.types import NonNegative, Unsigned

__all__ = ["dense_flow_loss", "dense_flow_matrices", "flow_matrix_loss"]


@op
def flow_matrix_loss(
    student_first: Tensor, student_second: Tensor, teacher_first: Tensor, teacher_second: Tensor
) -> Tensor:
    """Distance of the flow from one map to a later one (Yim et al., 2017, eq. 2): summed column norms, not squared.

    Maps [batch, channels, h, w], with equal channels in both nets. Each pair is max-pooled to the smaller size and
    gives ``G = a bᵀ/(h·w)`` [batch, C_first, C_second]; the L2 norms over C_first are summed over C_second and averaged
    over the batch. Raises ``ValueError`` for other than maps.

    >>> first, second = torch.ones(1, 2, 4, 4), torch.ones(1, 3, 2, 2)
    >>> ops.flow_matrix_loss(first, second, first, second)
    tensor(0.)
    >>> ops.flow_matrix_loss(2 * first, second, first, second)  # each of 3 columns is off by (1, 1)
    tensor(4.2426)
    """
    difference = _flow(student_first, student_second) - _flow(teacher_first, teacher_second)
    return difference.norm(dim=1).sum(1).mean()


def _flow(first: Tensor, second: Tensor) -> Tensor:
    require_maps(first, second)
    size = (min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3]))
    a, b = (m if m.shape[2:] == size else F.adaptive_max_pool2d(m, size) for m in (first, second))
    return a.flatten(2) @ b.flatten(2).transpose(1, 2) / (size[0] * size[1])


@op
def dense_flow_matrices(
    *maps: Tensor,
    pool_exponents: list[Unsigned] = (3, 2, 1),  # type: ignore[assignment]
    per_sample: bool = True,
    pairs: Literal["all", "adjacent"] = "all",
    eps: NonNegative = 1e-5,
) -> list[Tensor]:
    """Flow matrices between pairs of layers (Liu et al., 2020, eq. 5), all in lexicographic order or neighbours alone.

    ``maps`` [batch, C_i, H_i, W_i] of any number; the first are max-pooled by ``2^exponent`` (ceil mode), so that all
    have one size; each channel is then standardised over its pixels (biased variance, ``eps``). Returns a list of ``f_i
    f_jᵀ/(h·w)`` [batch, C_i, C_j], or [C_i, C_j] of the first sample alone where ``per_sample`` is false. Raises
    ``ValueError`` where sizes differ after pooling.

    >>> early, late = torch.rand(2, 8, 8, 8), torch.rand(2, 16, 4, 4)
    >>> [flow.shape for flow in ops.dense_flow_matrices(early, late, late, pool_exponents=[1])]
    [torch.Size([2, 8, 16]), torch.Size([2, 8, 16]), torch.Size([2, 16, 16])]
    """
    require_maps(*maps)
    exponents = [*pool_exponents, *[0] * len(maps)]
    pooled = [
        F.max_pool2d(m, 2**e, ceil_mode=True) if e else m for m, e in zip(maps, exponents[: len(maps)], strict=True)
    ]
    if len({m.shape[2:] for m in pooled}) > 1:
        raise ValueError(
            f"maps differ in size after pooling: {[list(m.shape[2:]) for m in pooled]}; set pool_exponents"
        )
    flat = [m.flatten(2) if per_sample else m[0].flatten(1) for m in pooled]
    whitened = [(f - f.mean(-1, keepdim=True)) * (f.var(-1, unbiased=False, keepdim=True) + eps).rsqrt() for f in flat]
    chosen = combinations(whitened, 2) if pairs == "all" else pairwise(whitened)
    return [a @ b.transpose(-1, -2) / a.shape[-1] for a, b in chosen]


@op
def dense_flow_loss(
    student: list[Tensor], teacher: list[Tensor], *, reduction: Literal["sum", "batch_mean"] = "sum"
) -> Tensor:
    """Summed squared differences of two lists of flow matrices, as ``dense_flow_matrices`` gives them: a scalar.

    ``batch_mean`` divides by the length of the first axis, for matrices a sample. Raises ``ValueError`` for lists of
    different lengths.

    >>> ops.dense_flow_loss([torch.zeros(1, 2, 2)], [torch.ones(1, 2, 2)])
    tensor(4.)
    """
    total = torch.stack([(s - t).square().sum() for s, t in zip(student, teacher, strict=True)]).sum()
    return total if reduction == "sum" else total / len(student[0])
