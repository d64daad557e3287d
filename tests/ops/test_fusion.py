"""Mixtures of models' knowledge."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops
from kdrun.metrics.comparison import group_weights
from kdrun.ops.divergences import pairwise_kl


def test_no_sharpness_averages_and_much_keeps_to_oneself() -> None:
    answers = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    prior = ops.prediction_prior(answers)
    gap = pairwise_kl(prior, prior)
    flat = ops.weighted_knowledge_fusion(ops.softmax_similarity_weights(gap, sharpness=0.0), answers)
    assert (flat - answers.mean(0)).abs().max() < 1e-6
    own = ops.weighted_knowledge_fusion(ops.softmax_similarity_weights(gap, sharpness=1e7), answers)
    assert torch.allclose(own, answers, atol=1e-5)
    assert torch.allclose(flat.sum(-1), torch.ones(3, 5))


def test_shares_and_group_weights() -> None:
    assert ops.row_shares([torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0])]).tolist() == [
        [0.25, 0.75],
        [0.5, 0.5],
    ]
    weights = torch.tensor([[0.5, 0.3, 0.1, 0.1]] * 2 + [[0.1, 0.1, 0.5, 0.3]] * 2)
    found = group_weights(weights, groups=2)
    assert found == pytest.approx({"own": 0.4, "within": 0.4, "between": 0.1})
