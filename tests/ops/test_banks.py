"""Banks of features and the neighbours in them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kdrun.ops.banks import (
    anchor_attention_entropy,
    averaged_bank,
    bank_nearest_neighbours,
    filled_banks,
    neighbour_attraction,
    neighbour_soft_cross_entropy,
    zero_rows,
)
from support.tensors import THREE, UNSURE


def test_neighbours_leave_the_row_itself_and_empty_rows_out() -> None:
    bank = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.4], [-1.0, 0.1]]), dim=1)
    bank = torch.cat([bank, zero_rows(rows=1, columns=2)])
    scores = torch.eye(5)
    near = bank_nearest_neighbours(7 * bank[[0, 3]], bank, scores, k=3)
    assert near["index"].tolist() == [[1, 2, 3], [2, 1, 0]]
    assert torch.equal(near["scores"], scores[near["index"]])
    with pytest.raises(ValueError, match="do not fit"):
        bank_nearest_neighbours(bank, bank, scores, k=5)
    with pytest.raises(ValueError, match="give index and probabilities"):
        bank_nearest_neighbours(bank, bank, scores, k=1, update="after")


@pytest.mark.parametrize(("update", "first"), [("after", [2]), ("before", [1])])
def test_banks_are_rewritten_before_or_after_neighbours_are_sought(update, first) -> None:
    """Row 0 moves next to row 1; before that, row 2 was nearest to it but for row 1 (dropped as the row itself)."""
    bank = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    scores = torch.zeros(3, 2)
    feature = torch.tensor([[3.0, 0.1]], requires_grad=True)
    answer = torch.tensor([[0.2, 0.8]], requires_grad=True)
    near = bank_nearest_neighbours(feature, bank, scores, torch.tensor([0]), answer, k=1, update=update)
    assert near["index"][0].tolist() == first
    torch.testing.assert_close(bank[0], F.normalize(feature.detach(), dim=1)[0])
    assert torch.equal(scores[0], answer.detach()[0])
    assert torch.equal(near["bank"], scores)
    assert not near["scores"].requires_grad
    assert not scores.requires_grad


def test_banks_hold_unit_rows() -> None:
    filled = filled_banks(THREE, UNSURE)
    torch.testing.assert_close(filled["features"], THREE / THREE.norm(dim=1, keepdim=True))
    assert torch.equal(filled["scores"], UNSURE)


def test_neighbour_cross_entropy_is_least_at_the_neighbours_mean() -> None:
    neighbours = torch.rand(4, 3, 5).softmax(-1).requires_grad_()
    logits = neighbours.detach().mean(1).log().requires_grad_()
    loss = neighbour_soft_cross_entropy(logits.softmax(-1), neighbours, eps=0.0)
    (slope,) = torch.autograd.grad(loss, logits)
    assert slope.abs().max() < 1e-6
    mean = neighbours.detach().mean(1)
    assert loss.item() == pytest.approx(-(mean * mean.log()).sum(1).mean().item(), rel=1e-5)
    assert neighbours.grad is None


def test_attraction_is_a_dot_product_with_its_gradient() -> None:
    p = torch.rand(4, 5).softmax(1).requires_grad_()
    q = torch.rand(4, 3, 5).softmax(2).requires_grad_()
    loss = neighbour_attraction(p, q)
    (slope,) = torch.autograd.grad(loss, p)
    torch.testing.assert_close(slope, -q.detach().sum(1) / 4)
    alone = neighbour_attraction(torch.eye(2), torch.eye(2)[:, None])
    assert alone.item() == -1, "a sure neighbour's entropy is 0"
    assert q.grad is None


def test_a_bank_forgets_by_its_momentum() -> None:
    bank = torch.zeros(2, 1)
    for _ in range(3):
        bank = averaged_bank(bank, torch.ones(2, 1), momentum=0.5)["features"]
    assert bank.flatten().tolist() == [0.875, 0.875]


def test_attention_is_least_at_an_anchor_and_most_between_them() -> None:
    bank = torch.cat([F.normalize(torch.randn(3, 8), dim=1), zero_rows(rows=4, columns=8)])
    z = torch.randn(5, 8, requires_grad=True)
    loss = anchor_attention_entropy(z, bank)
    assert 0 < loss.item() < torch.log(torch.tensor(3.0)).item(), "zero rows are no anchors"
    torch.testing.assert_close(anchor_attention_entropy(3 * z, 7 * bank), loss)
    at, between = (
        anchor_attention_entropy(v[None], torch.eye(2, 8)) for v in (torch.eye(8)[0], torch.eye(8)[:2].sum(0))
    )
    assert at < between
    (slope,) = torch.autograd.grad(loss, z)
    assert slope.abs().max() > 0


def test_anchors_move_after_they_were_read() -> None:
    bank = torch.zeros(3, 2)
    z = torch.randn(4, 2, requires_grad=True)
    first = anchor_attention_entropy(z, bank, torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    (slope,) = torch.autograd.grad(first, z)
    assert first.item() == 0
    assert torch.isfinite(slope).all()
    assert not slope.any()
    torch.testing.assert_close(bank[1], torch.tensor([1.8, 0.0]))
    one = anchor_attention_entropy(z, bank, torch.tensor([[2.0, 0.0]]), torch.tensor([1]), eps=0.0)
    assert one.item() == pytest.approx(0.0, abs=1e-6), "to one anchor goes all attention"
    torch.testing.assert_close(bank[1], torch.tensor([1.98, 0.0]))
