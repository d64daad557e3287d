"""Survival analysis in discrete time: hazards in consecutive intervals, their likelihood, risks and bins."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor

from kdrun.ops.checks import require_rows, require_same_batch
from kdrun.registry import op
from kdrun.types import Fraction, Positive

__all__ = ["discrete_survival_nll", "discrete_survival_risk", "survival_curve", "time_bins"]


def survival_curve(hazards: Tensor) -> Tensor:
    """``S_k = Π_{j ≤ k} (1 - h_j)``, the chance to outlive interval k: [batch, intervals] of hazards from 0 to 1."""
    return (1 - hazards).cumprod(1)


@op
def discrete_survival_nll(
    logits: Tensor,
    bin: Tensor,
    event: Tensor,
    *,
    alpha: Fraction = 0.5,
    eps: Positive = 1e-7,
    given: Literal["logits", "hazards"] = "logits",
) -> Tensor:
    """Mean negative log likelihood of right-censored times in discrete intervals, in nats (Zadeh and Schmid, 2021).

    ``logits`` [batch, intervals], whose sigmoids are the hazards (or, ``given: hazards``, the hazards), ``bin`` [batch]
    (int64), the interval of the time, and ``event`` [batch], 1 for an event and 0 for a censored time. An event costs
    ``-log S_{b-1} - log h_b`` (``S_{-1} = 1``), a censored time ``-log S_b`` weighted by ``1 - alpha``. Each S and h is
    at least ``eps`` before its logarithm. Raises ``ValueError`` if the numbers of rows differ.

    >>> hazards = torch.tensor([[0.5, 0.5]])
    >>> died, left = torch.tensor([1]), torch.tensor([0])
    >>> ops.discrete_survival_nll(hazards, torch.tensor([1]), died, given="hazards")  # -ln(0.5 · 0.5)
    tensor(1.3863)
    >>> ops.discrete_survival_nll(hazards, torch.tensor([0]), left, given="hazards", alpha=0.0)  # -ln 0.5
    tensor(0.6931)
    """
    require_rows(logits)
    require_same_batch(logits, bin, "logits and bin")
    require_same_batch(logits, event, "logits and event")
    hazards = logits.float().sigmoid() if given == "logits" else logits.float()
    survival = torch.cat([torch.ones_like(hazards[:, :1]), survival_curve(hazards)], dim=1)
    place = bin.long()[:, None]
    before, after, hazard = (
        values.gather(1, index).squeeze(1).clamp_min(eps).log()
        for values, index in ((survival, place), (survival, place + 1), (hazards, place))
    )
    happened = event.to(hazards.dtype)
    return -(happened * (before + hazard) + (1 - alpha) * (1 - happened) * after).mean()


@op
def discrete_survival_risk(logits: Tensor) -> Tensor:
    """``-Σ_k S_k`` of hazard logits [batch, intervals]: minus the expected number of intervals outlived, [batch].

    From ``-intervals`` (nobody dies) to 0; higher is worse. Raises ``ValueError`` for other than rows.

    >>> ops.discrete_survival_risk(torch.tensor([[0.0, 0.0], [-99.0, -99.0]]))  # -(½ + ¼), and nobody dies
    tensor([-0.7500, -2.0000])
    """
    require_rows(logits)
    return -survival_curve(logits.float().sigmoid()).sum(1)


@op
def time_bins(time: Tensor, *, cutoffs: list[float]) -> Tensor:
    """The interval of each time: the number of ``cutoffs`` (ascending) that it reaches; int64, the shape of ``time``.

    With K - 1 cut-offs there are K intervals, closed at the left; the first starts anywhere, the last never ends.
    Cut-offs are in the unit of ``time``. Raises ``ValueError`` if they do not ascend.

    >>> ops.time_bins(torch.tensor([0.5, 1.0, 7.0]), cutoffs=[1.0, 5.0])
    tensor([0, 1, 2])
    """
    if any(later <= earlier for earlier, later in itertools.pairwise(cutoffs)):
        raise ValueError(f"cut-offs ascend, got {cutoffs}")
    return torch.bucketize(time, torch.tensor(cutoffs, dtype=time.dtype, device=time.device), right=True)
