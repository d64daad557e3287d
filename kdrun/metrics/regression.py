"""How much of what is to be predicted a regression explains; errors are in ``classification.py``."""

from __future__ import annotations

import math

from torch import Tensor

from kdrun.registry import metric

__all__ = ["r_squared"]


@metric
def r_squared(logits: Tensor, target: Tensor) -> float:
    """Coefficient of determination ``1 - Σ (t - y)² / Σ (t - mean t)²``, the mean over outputs; 1 is the best.

    ``logits`` and ``target`` [rows, outputs], or of as many elements in this order. 0 for the mean of the targets, below for worse.
    Outputs whose target is the same in all rows are left out; NaN if none is left.

    >>> target = torch.tensor([[1.0], [2.0], [3.0]])
    >>> metrics.r_squared(torch.tensor([[2.0], [2.0], [2.0]]), target), metrics.r_squared(target, target)
    (0.0, 1.0)
    """
    wanted = target.double().reshape(len(target), -1)
    errors = (wanted - logits.double().reshape(wanted.shape)).square().sum(0)
    spread = (wanted - wanted.mean(0)).square().sum(0)
    varies = spread > 0
    return (1 - errors[varies] / spread[varies]).mean().item() if varies.any() else math.nan
