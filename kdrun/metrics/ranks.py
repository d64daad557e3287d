"""Statistics of the ranks of right answers."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.registry import metric
from kdrun.types import Count

__all__ = ["ndcg", "ndcg_by_row", "ranking"]


@metric
def ranking(ranks: Tensor, *, at: list[Count] = (1, 3, 10)) -> dict[str, float]:  # type: ignore[assignment]
    """Mean reciprocal rank (``mrr``), mean rank, and the share of ranks not above each of ``at`` (``hits_at_1`` …).

    ``ranks`` of any shape, 1 is the best; a rank of 1.5, of a tie, misses ``hits_at_1``. Raises ``InputError`` for a
    rank below 1.

    >>> metrics.ranking(torch.tensor([1.0, 2.0, 4.0, 4.0]), at=[1, 3])
    {'mrr': 0.5, 'mean_rank': 2.75, 'hits_at_1': 0.25, 'hits_at_3': 0.5}
    """
    values = ranks.double()
    if values.numel() and values.min() < 1:
        raise InputError(f"ranks start at 1, got {values.min().item():g}")
    hits = {f"hits_at_{k}": (values <= k).double().mean().item() for k in at}
    return {"mrr": values.reciprocal().mean().item(), "mean_rank": values.mean().item(), **hits}


def ndcg_by_row(scores: Tensor, relevance: Tensor, *, at: int) -> Tensor:
    """Normalised discounted cumulative gain of each ranking, as ``ndcg`` has it: [rows] (float64)."""
    values, order = scores.double().sort(dim=1, descending=True, stable=True)
    gains = relevance.double().gather(1, order)
    count = min(at, gains.shape[1])
    discount = torch.zeros(gains.shape[1], dtype=torch.float64, device=gains.device)
    discount[:count] = 1 / torch.arange(2, count + 2, dtype=torch.float64, device=gains.device).log2()
    new = torch.ones_like(values, dtype=torch.int64)
    new[:, 1:] = (values[:, 1:] != values[:, :-1]).long()
    group = new.cumsum(1) - 1
    sums = torch.zeros_like(gains).scatter_add_(1, group, gains)
    sizes = torch.zeros_like(gains).scatter_add_(1, group, torch.ones_like(gains))
    expected = (sums / sizes.clamp_min(1)).gather(1, group)
    best = (relevance.double().sort(1, descending=True).values * discount).sum(1)
    return torch.where(best > 0, (expected * discount).sum(1) / best.clamp_min(1e-12), torch.zeros_like(best))


@metric
def ndcg(scores: Tensor, relevance: Tensor, *, at: list[Count] = (10, 100)) -> dict[str, float]:  # type: ignore[assignment]
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen, 2002): mean over rows, from 0 to 1 (``ndcg_at_10`` …).

    ``Σ gain / log2(1 + rank)`` over the first ``at`` of a ranking, divided by that of the best ranking. ``scores`` and ``relevance``
    [rows, items], the higher the better; a gain is the relevance itself, not negative. Items of equal scores share the mean of their
    gains, as if in random order (McSherry & Najork, 2008). A row without a relevant item counts as 0.

    >>> metrics.ndcg(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]]), at=[1, 3])
    {'ndcg_at_1': 0.0, 'ndcg_at_3': 0.6309297535714575}
    """
    return {f"ndcg_at_{k}": ndcg_by_row(scores, relevance, at=k).mean().item() for k in at}
