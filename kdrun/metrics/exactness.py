"""How far a solution is from the one it should equal."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import metric

__all__ = ["relative_parameter_gap", "removal_margin"]


@metric
def relative_parameter_gap(weight: Tensor, reference: Tensor) -> float:
    """``|W - W*| / |W*|`` in the Frobenius norm, float64; outputs that only one of them has count as zero columns."""
    width = max(weight.shape[1], reference.shape[1])
    first, second = (torch.nn.functional.pad(w.double(), (0, width - w.shape[1])) for w in (weight, reference))
    return ((first - second).norm() / second.norm()).item()


@metric
def removal_margin(inverse: Tensor, features: Tensor) -> float:
    """The least eigenvalue of ``I - X R Xᵀ``: positive if and only if the rows X can be taken out of the regression.

    R = ``inverse`` [features, features], X [rows, features].
    """
    x = features.to(inverse.dtype)
    inner = torch.eye(len(x), dtype=x.dtype) - x @ inverse @ x.T
    return torch.linalg.eigvalsh(inner).min().item()
