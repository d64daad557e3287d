"""Statistics of ranks against closed forms."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.metrics.ranks import ranking
from kdrun.ops.ranking import filtered_rank


def test_statistics_of_ranks() -> None:
    found = ranking(torch.tensor([[1.0, 2.0], [1.5, 20.0]]), at=[1, 10])
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 1.5 + 1 / 20) / 4)
    assert (found["hits_at_1"], found["hits_at_10"], found["mean_rank"]) == (0.25, 0.75, 6.125)
    with pytest.raises(InputError, match="start at 1"):
        ranking(torch.zeros(3))


def test_the_mean_reciprocal_rank_of_chance_is_the_harmonic_mean() -> None:
    scores = torch.rand(4000, 10, generator=torch.Generator().manual_seed(1))
    ranks = filtered_rank(scores, torch.zeros(4000).long())
    assert ranking(ranks)["mrr"] == pytest.approx(sum(1 / k for k in range(1, 11)) / 10, abs=0.02)
