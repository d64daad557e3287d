"""Low-rank approximations of weight matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Count, Positive

__all__ = ["truncated_svd", "weighted_low_rank_init"]


@op
def truncated_svd(weight: Tensor, *, rank: Count) -> dict[str, Tensor]:
    """The best approximation of a matrix by one of low rank, in any unitarily invariant norm (Eckart and Young, 1936; Mirsky, 1960).

    ``weight`` [rows, columns] gives ``left`` U [rows, rank], ``values`` S [rank], falling, and ``right`` V [columns, rank], whose columns
    are orthonormal: ``U diag(S) Vᵀ``. Decomposed in single precision at least, returned in the dtype of ``weight``. Raises ``ValueError``
    if the weight is not a matrix or the rank is larger than its smaller side.

    >>> parts = ops.truncated_svd(torch.diag(torch.tensor([2.0, 3.0])), rank=1)
    >>> parts["left"] * parts["values"] @ parts["right"].T  # the larger part alone
    tensor([[0., 0.],
            [0., 3.]])
    """
    if weight.dim() != 2 or rank > min(weight.shape):
        raise ValueError(f"no part of rank {rank} in {list(weight.shape)}")
    dtype = torch.promote_types(weight.dtype, torch.float32)
    left, values, right = torch.linalg.svd(weight.to(dtype), full_matrices=False)
    parts = {"left": left[:, :rank], "values": values[:rank], "right": right[:rank].T}
    return {name: part.to(weight.dtype) for name, part in parts.items()}


@op
def weighted_low_rank_init(
    weight: Tensor, importance: Tensor, *, rank: Count, scaling: Positive = 1.0, eps: Positive = 1e-5
) -> dict[str, Tensor]:
    """Factors of the part of a weight that matters most, and what is left of it (Cha et al., 2025).

    ``weight`` and ``importance`` (not negative) [out, in]. With ``q`` the root of the row sums of ``importance``,
    ``down`` [rank, in] and ``up`` [out, rank] make ``scaling · up @ down`` the best approximation of ``weight`` in the
    norm ``‖diag(q)(W - ·)‖`` (up to ``eps``, which keeps ``1 / (q + eps)`` finite); ``residual`` is the rest, so that
    ``residual + scaling · up @ down`` is ``weight``. Constant importance gives the principal components. Decomposed in
    single precision at least, returned in the dtype of ``weight``. Raises ``ValueError`` if shapes differ or the rank
    is larger than the smaller side.

    >>> weight = torch.diag(torch.tensor([3.0, 2.0]))  # the larger part goes first
    >>> ops.weighted_low_rank_init(weight, torch.ones(2, 2), rank=1)["residual"].round(decimals=2)
    tensor([[0., 0.],
            [0., 2.]])
    >>> important = torch.tensor([[0.01, 0.01], [1.0, 1.0]])  # the second output is what matters
    >>> ops.weighted_low_rank_init(weight, important, rank=1)["residual"].round(decimals=2)
    tensor([[3., 0.],
            [0., 0.]])
    """
    if weight.shape != importance.shape or weight.dim() != 2:
        raise ValueError(
            f"weight {list(weight.shape)} and importance {list(importance.shape)} must be one matrix shape"
        )
    if rank > min(weight.shape):
        raise ValueError(f"a matrix {list(weight.shape)} has no factors of rank {rank}")
    dtype = torch.promote_types(weight.dtype, torch.float32)
    rows = importance.to(dtype).sum(1).sqrt()
    left, values, right = torch.linalg.svd(rows[:, None] * weight.to(dtype), full_matrices=False)
    root = (values[:rank] / scaling).sqrt()
    down = root[:, None] * right[:rank]
    up = left[:, :rank] * root / (rows + eps)[:, None]
    residual = weight.to(dtype) - scaling * (up @ down)
    return {"down": down.to(weight.dtype), "up": up.to(weight.dtype), "residual": residual.to(weight.dtype)}
