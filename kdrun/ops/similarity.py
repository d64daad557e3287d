"""Cosine similarities of vectors and of sets of them, and metric learning from them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_rows, require_same_batch
from kdrun.registry import op
from kdrun.types import Count, NonNegative, Positive

__all__ = ["cosine_similarity", "cosine_similarity_matrix", "multi_similarity_loss", "set_pair_similarity"]


@op
def cosine_similarity(first: Tensor, second: Tensor, *, dim: int = -1) -> Tensor:
    """Cosine along an axis of two tensors of one shape, in [-1, 1]; 0 where one of them is 0. That axis goes.

    >>> ops.cosine_similarity(torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    tensor([1., 0.])
    """
    return (F.normalize(first, dim=dim) * F.normalize(second, dim=dim)).sum(dim)


@op
def cosine_similarity_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Cosines [..., n, m] of the rows of [..., n, dim] with the rows of [..., m, dim], in [-1, 1].

    >>> ops.cosine_similarity_matrix(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]))
    tensor([[ 1.,  0., -1.]])
    """
    return F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).transpose(-1, -2)


@op
def multi_similarity_loss(
    features: Tensor,
    labels: Tensor,
    pair_weight: Tensor | None = None,
    *,
    alpha: Positive = 2.0,
    beta: Positive = 50.0,
    threshold: float = 0.5,
    margin: float = 0.1,
    alpha_weight: NonNegative = 0.0,
    beta_weight: NonNegative = 0.0,
    exclude_self: bool = False,
) -> Tensor:
    """Multi-similarity loss (Wang et al., 2019), with pairs weighed in the exponents (Liu et al., 2024): a scalar.

    ``features`` [n, dim], ``labels`` [n] (int64), cosines S, ``pair_weight`` W [n, n] (default 0). Of each row's pairs,
    a negative is kept if ``S + margin`` is above its least positive, a positive if ``S - margin`` is below its largest
    negative; where one kind has no pair at all, the other is kept whole. A row costs ``log(1 + Σ_pos exp(-alpha (S -
    threshold) + alpha_weight W)) / alpha`` and ``log(1 + Σ_neg exp(beta (S - threshold) - beta_weight W)) / beta``; the
    loss is the mean over all n rows, 0 for none. A row is its own positive, unless ``exclude_self``. Computed in
    float32 at least. Raises ``ValueError`` for other shapes.

    >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> ops.multi_similarity_loss(features, torch.tensor([0, 1]), exclude_self=True)  # far apart, as they should be
    tensor(0.)
    >>> ops.multi_similarity_loss(features, torch.tensor([0, 0]), exclude_self=True)  # of one class: log(1 + e) / 2
    tensor(0.6566)
    """
    require_rows(features)
    require_same_batch(features, labels, "features and labels")
    if len(features) == 0:
        return features.sum()
    with torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(features.float() if features.dtype in (torch.float16, torch.bfloat16) else features, dim=1)
        cosine = unit @ unit.T
    positive = labels[:, None] == labels[None, :]
    negative = ~positive
    if exclude_self:
        positive = positive & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    least = cosine.masked_fill(~positive, torch.inf).min(1, keepdim=True).values
    most = cosine.masked_fill(~negative, -torch.inf).max(1, keepdim=True).values
    keep_negative = negative & ((cosine + margin > least) | ~positive.any(1, keepdim=True))
    keep_positive = positive & ((cosine - margin < most) | ~negative.any(1, keepdim=True))
    pull = -alpha * (cosine - threshold)
    push = beta * (cosine - threshold)
    if pair_weight is not None:
        pull = pull + alpha_weight * pair_weight
        push = push - beta_weight * pair_weight
    return (_log1p_sum_exp(pull, keep_positive) / alpha + _log1p_sum_exp(push, keep_negative) / beta).mean()


def _log1p_sum_exp(values: Tensor, keep: Tensor) -> Tensor:
    """``log(1 + Σ exp(values))`` of each row [n] over the kept entries of [n, m]."""
    kept = values.masked_fill(~keep, -torch.inf)
    return torch.cat([torch.zeros_like(kept[:, :1]), kept], dim=1).logsumexp(1)


@op
def set_pair_similarity(
    features: Tensor, sets: Tensor, *, count: Count, aggregate: Literal["max", "mean", "min", "centroid"] = "max"
) -> Tensor:
    """Similarity of sets of vectors: over all pairs of members, the largest, mean or least cosine: [count, count].

    ``features`` [rows, dim]; ``sets`` [rows] (int64) is the number of the set that a row belongs to, below ``count``.
    ``centroid`` is the cosine of the sets' mean vectors. A set is compared with itself like with any other; one without
    members gives 0. Raises ``ValueError`` for other shapes.

    >>> features, sets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 0, 1])
    >>> ops.set_pair_similarity(features, sets, count=2)
    tensor([[1., 1.],
            [1., 1.]])
    >>> ops.set_pair_similarity(features, sets, count=2, aggregate="mean")
    tensor([[0.5000, 0.5000],
            [0.5000, 1.0000]])
    """
    require_rows(features)
    require_same_batch(features, sets, "features and sets")
    size = torch.zeros(count, dtype=features.dtype, device=features.device).index_add(
        0, sets, torch.ones_like(sets, dtype=features.dtype)
    )
    if aggregate == "centroid":
        sums = features.new_zeros(count, features.shape[1]).index_add(0, sets, features)
        unit = F.normalize(sums / size.clamp_min(1)[:, None], dim=1)
        return unit @ unit.T
    unit = F.normalize(features, dim=1)
    if aggregate == "mean":  # the mean cosine is that of the summed unit vectors
        sums = unit.new_zeros(count, unit.shape[1]).index_add(0, sets, unit) / size.clamp_min(1)[:, None]
        return sums @ sums.T
    how, empty = ("amax", -torch.inf) if aggregate == "max" else ("amin", torch.inf)
    cosine = unit @ unit.T
    rows = cosine.new_full((count, len(sets)), empty).scatter_reduce(0, sets[:, None].expand_as(cosine), cosine, how)
    both = rows.new_full((count, count), empty).scatter_reduce(1, sets[None, :].expand_as(rows), rows, how)
    return torch.where((size[:, None] > 0) & (size[None, :] > 0), both, torch.zeros_like(both))
