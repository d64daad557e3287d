"""Metrics of survival models on right-censored times."""

from __future__ import annotations

from torch import Tensor

from kdrun.ops.survival import discrete_survival_risk
from kdrun.registry import metric

__all__ = ["concordance_gain", "concordance_index", "discrete_concordance_index"]


@metric
def concordance_index(risk: Tensor, time: Tensor, event: Tensor) -> float:
    """Share of comparable pairs whose risks are in order (Harrell et al., 1982): from 0 to 1, 0.5 is chance.

    ``risk`` [rows], higher is worse, ``time`` [rows] (any unit), ``event`` [rows] (1: event, 0: censored). A pair is
    comparable if the earlier time is an event, or at equal times the one is and the other, censored, lived longer;
    equal risks count half. NaN without pairs.

    >>> time, event = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1, 0, 1])  # the second was censored: two pairs
    >>> metrics.concordance_index(torch.tensor([3.0, 2.0, 1.0]), time, event)
    1.0
    >>> metrics.concordance_index(torch.tensor([2.0, 2.0, 1.0]), time, event)
    0.75
    """
    died = event.bool()
    outlived = (time[:, None] < time[None, :]) | ((time[:, None] == time[None, :]) & ~died[None, :])
    first, second = (died[:, None] & outlived).nonzero(as_tuple=True)
    right = (risk[first] > risk[second]).double() + 0.5 * (risk[first] == risk[second]).double()
    return right.mean().item()


@metric
def discrete_concordance_index(logits: Tensor, time: Tensor, event: Tensor) -> float:
    """``concordance_index`` of the risks that hazard logits [rows, intervals] stand for, on the continuous times.

    ``time`` and ``event`` [rows]; the risk is ``discrete_survival_risk``.

    >>> logits = torch.tensor([[2.0, 2.0], [-2.0, -2.0]])  # the first dies soon
    >>> metrics.discrete_concordance_index(logits, torch.tensor([1.0, 2.0]), torch.tensor([1, 1]))
    1.0
    """
    return concordance_index(discrete_survival_risk(logits.double()), time, event)


@metric
def concordance_gain(risk: Tensor, reference: Tensor, time: Tensor, event: Tensor) -> float:
    """Concordance index of ``risk`` minus that of ``reference``, both [rows], on the same rows; from -1 to 1.

    ``time`` and ``event`` [rows] as in ``concordance_index``.

    >>> time, event = torch.tensor([1.0, 2.0]), torch.tensor([1, 1])
    >>> metrics.concordance_gain(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 1.0]), time, event)
    0.5
    """
    return concordance_index(risk, time, event) - concordance_index(reference, time, event)
