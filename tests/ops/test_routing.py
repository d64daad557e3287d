"""Routers and their losses."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun import ops
from kdrun.ops.routing import load_balance_loss, router_z_loss


def test_the_own_expert_is_left_out_and_the_order_kept() -> None:
    tokens = torch.arange(3.0).view(1, 3, 1).expand(3, 3, 2)
    found = ops.exclude_expert(tokens, torch.tensor([0, 1, 2]))
    assert found[..., 0].tolist() == [[1, 2], [0, 2], [0, 1]]
    for nobody in (-1, tokens.shape[1]):
        with pytest.raises(RuntimeError, match="out of bounds"):
            ops.exclude_expert(tokens, torch.full((3,), nobody))


def test_balance_of_a_batch_is_one_if_even_and_the_number_of_experts_if_all_go_to_one() -> None:
    eye = torch.eye(4)
    assert load_balance_loss(eye).item() == pytest.approx(1.0)
    assert load_balance_loss(eye[:1].expand(8, 4)).item() == pytest.approx(4.0)


def test_balance_of_rows_is_the_mean_largest_gate_and_asks_for_even_gates() -> None:
    gates = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.4, 0.5]])
    assert load_balance_loss(gates, over="row").item() == pytest.approx(0.6)
    rows = [load_balance_loss(row[None], over="batch").item() / 3 for row in gates]
    assert sum(rows) / 2 == pytest.approx(0.6)  # the batch's form, of batches of one, without the factor
    logits = torch.tensor([[2.0, 0.0, 0.0]], requires_grad=True)
    load_balance_loss(logits.softmax(1), over="row").backward()
    assert logits.grad[0, 0] > 0 > logits.grad[0, 1]


def test_z_loss_is_zero_at_normalised_logits_only() -> None:
    logits = torch.randn(5, 7)
    assert router_z_loss(logits.log_softmax(1)).item() == pytest.approx(0.0, abs=1e-10)
    assert router_z_loss(logits.log_softmax(1) + 3).item() == pytest.approx(9.0, rel=1e-5)
    assert router_z_loss(torch.zeros(2, 4)).item() == pytest.approx(math.log(4) ** 2)
