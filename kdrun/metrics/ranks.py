"""Statistics of the ranks of right answers."""

from __future__ import annotations

from torch import Tensor

from kdrun.errors import InputError
from kdrun.registry import metric
from kdrun.types import Count

__all__ = ["ranking"]


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
