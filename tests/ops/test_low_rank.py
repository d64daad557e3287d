"""Low-rank factors of weights, best in a weighted norm."""

from __future__ import annotations

import pytest
import torch

from kdrun.ops.low_rank import truncated_svd, weighted_low_rank_init
from support.tensors import generator


def weighted_error(weight: torch.Tensor, rows: torch.Tensor, update: torch.Tensor) -> float:
    return (rows[:, None] * (weight - update)).norm().item()


def test_weighted_factors_and_residual_make_the_weight() -> None:
    weight, importance = torch.randn(12, 8), torch.rand(12, 8)
    found = weighted_low_rank_init(weight, importance, rank=3, scaling=2.0)
    assert (found["down"].shape, found["up"].shape) == ((3, 8), (12, 3))
    assert torch.allclose(found["residual"] + 2.0 * found["up"] @ found["down"], weight, atol=1e-5)


def test_weighted_factors_are_the_best_in_the_weighted_norm() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(12, 8, generator=generator, dtype=torch.float64)
    importance = torch.linspace(0.01, 3, 12, dtype=torch.float64)[:, None] ** 4 * torch.rand(12, 8, generator=generator)
    rows = importance.sum(1).sqrt()
    found = weighted_low_rank_init(weight, importance, rank=3, scaling=2.0, eps=1e-12)
    update = 2.0 * found["up"] @ found["down"]
    tail = torch.linalg.svdvals(rows[:, None] * weight)[3:].norm().item()
    assert weighted_error(weight, rows, update) == pytest.approx(tail)
    plain = weighted_low_rank_init(weight, torch.ones_like(weight), rank=3, eps=1e-12)
    principal = plain["up"] @ plain["down"]
    assert weighted_error(weight, torch.ones(12), principal) == pytest.approx(
        torch.linalg.svdvals(weight)[3:].norm().item()
    )
    assert weighted_error(weight, rows, principal) > 1.05 * tail


def test_weighted_factors_survive_rows_without_importance() -> None:
    weight, importance = torch.randn(6, 5, dtype=torch.float64), torch.rand(6, 5, dtype=torch.float64)
    importance[2] = 0
    found = weighted_low_rank_init(weight, importance, rank=2)
    assert torch.isfinite(found["up"]).all()
    assert torch.allclose(found["residual"][2], weight[2], atol=1e-4)  # nothing of that row is taken
    with pytest.raises(ValueError, match="no factors of rank 6"):
        weighted_low_rank_init(weight, importance, rank=6)
    with pytest.raises(ValueError, match="one matrix shape"):
        weighted_low_rank_init(weight, importance.T, rank=2)


def test_the_best_part_of_low_rank_loses_the_values_left_out() -> None:
    weight = torch.randn(6, 9, dtype=torch.float64, generator=generator())
    values = torch.linalg.svdvals(weight)
    for rank in range(1, 7):
        parts = truncated_svd(weight, rank=rank)
        rest = weight - parts["left"] * parts["values"] @ parts["right"].T
        assert torch.allclose(parts["values"], values[:rank])
        assert torch.allclose(rest.square().sum(), values[rank:].square().sum(), atol=1e-9)
        for basis in (parts["left"], parts["right"]):
            assert torch.allclose(basis.T @ basis, torch.eye(rank, dtype=torch.float64), atol=1e-9)
    with pytest.raises(ValueError, match="no part of rank 7"):
        truncated_svd(weight, rank=7)
