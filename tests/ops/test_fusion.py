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


def test_scaled_outputs_of_adapters_are_added_once_to_the_residual() -> None:
    generator = torch.Generator().manual_seed(0)
    up, residual = torch.randn(2, 3, 4, 5, generator=generator), torch.randn(2, 3, 5, generator=generator)
    first = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    assert torch.allclose(ops.scaled_adapter_sum(up, residual, first), residual + up[:, :, 0])
    assert torch.equal(ops.scaled_adapter_sum(up, residual, torch.zeros(4, 1)), residual)
    scale = torch.rand(4, 5, generator=generator) + 0.5
    plain = ops.scaled_adapter_sum(up, residual, scale)
    assert torch.allclose(ops.scaled_adapter_sum(up, 0 * residual, 2 * scale), 2 * (plain - residual), atol=1e-5)
    mean = ops.scaled_adapter_sum(up, residual, scale, normalise="mean")
    assert torch.allclose(mean, ops.scaled_adapter_sum(up, residual, 3 * scale, normalise="mean"), atol=1e-6)
    soft = ops.scaled_adapter_sum(up, residual, scale, normalise="softmax")
    assert torch.allclose(soft, ops.scaled_adapter_sum(up, residual, scale + 7.0, normalise="softmax"), atol=1e-5)
    even = torch.full((4, 5), 0.3)
    for rule in ("mean", "softmax"):
        assert torch.allclose(
            ops.scaled_adapter_sum(up, residual, even, normalise=rule), residual + up.mean(2), atol=1e-6
        )
    with pytest.raises(ValueError, match="4 adapters need as many rows"):
        ops.scaled_adapter_sum(up, residual, scale[:3])


def test_attention_over_values_mixes_them_row_by_row() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(*shape, generator=generator) for shape in ((6, 3), (6, 4, 3), (6, 4, 5)))
    assert torch.allclose(ops.attention_fusion(torch.zeros(6, 3), key, value), value.mean(1), atol=1e-6)
    assert torch.allclose(ops.attention_fusion(query, key, value[:, :1].expand_as(value)), value[:, 0], atol=1e-5)
    sharp = ops.attention_fusion(1e4 * query, key, value)
    best = torch.einsum("bw,bnw->bn", query, key).argmax(1)
    assert torch.allclose(sharp, value[torch.arange(6), best], atol=1e-5)
    order = [2, 0, 3, 1]
    mixed = ops.attention_fusion(query, key, value)
    assert torch.allclose(ops.attention_fusion(query, key[:, order], value[:, order]), mixed, atol=1e-6)
