"""Statistics of ranks against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.errors import InputError
from kdrun.metrics.ranks import ndcg, ndcg_by_row, ranking
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


def test_cumulative_gain_agrees_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores = torch.rand(6, 30, generator=torch.Generator().manual_seed(2))
    relevance = torch.randint(0, 4, (6, 30), generator=torch.Generator().manual_seed(3)).float()
    scores[:, 10:14] = scores[:, 9:10]  # ties share the mean of their gains
    for at in (1, 5, 30, 100):
        wanted = sklearn.ndcg_score(relevance.numpy(), scores.numpy(), k=at)
        assert ndcg(scores, relevance, at=[at])[f"ndcg_at_{at}"] == pytest.approx(wanted)


def test_cumulative_gain_of_the_best_of_constant_and_of_no_answers() -> None:
    relevance = torch.tensor([[0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert ndcg_by_row(relevance, relevance, at=3).tolist() == [1.0, 0.0]
    constant = ndcg_by_row(torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 0.0, 0.0]]), at=4)
    assert constant.item() == pytest.approx(sum(1 / math.log2(k) for k in range(2, 6)) / 4)  # a random order
