"""Seeded draws: noise, permutations, random partners."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta as beta_law
from scipy.stats import kstest
from torch._subclasses.fake_tensor import FakeTensorMode

from kdrun import ops
from kdrun.ops.random_draws import random_partners, random_rows, unit_rows
from support.tensors import generator


def test_random_partners_are_others() -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.arange(6)
    found = random_partners(index, torch.zeros(6, 2), count=500, generator=generator)
    assert torch.equal(found[:, 0], index)
    assert (found[:, 1:] != index[:, None]).all()
    assert all(set(row.tolist()) == set(range(6)) - {i} for i, row in enumerate(found[:, 1:]))


def test_random_rows_and_unit_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    chosen = random_rows(torch.zeros(10, 3), share=0.3, generator=generator)
    assert len(chosen.unique()) == 3
    assert torch.allclose(unit_rows(rows=4, features=5, generator=generator).norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("draw", [ops.standard_normal, ops.uniform])
def test_noise_has_the_shape_and_type_asked_for_and_repeats_by_seed(draw) -> None:
    like = torch.zeros(3, 2, 4, dtype=torch.float64)
    noise = draw(like, generator=generator())
    assert noise.shape == like.shape
    assert noise.dtype == torch.float64
    assert draw(like, features=5, generator=generator()).shape == (3, 5)
    assert draw(like, per_row=True, generator=generator()).shape == (3,)
    assert torch.equal(draw(like, generator=generator()), noise)
    assert not torch.equal(draw(like, generator=generator(1)), noise)
    assert draw(torch.zeros(3, dtype=torch.int64), generator=generator()).is_floating_point()


def test_uniform_range() -> None:
    noise = ops.uniform(torch.zeros(4000), low=-1.0, high=3.0, generator=generator())
    assert kstest(noise.numpy(), "uniform", (-1.0, 4.0)).pvalue > 1e-3


@pytest.mark.parametrize(("first", "second"), [(0.1, 0.1), (2.0, 5.0), (1.0, 1.0), (0.01, 0.01)])
def test_beta_law(first, second) -> None:
    sample = ops.beta(torch.zeros(4000, 2, dtype=torch.float64), first=first, second=second, generator=generator())
    assert sample.shape == (4000,)
    inside = sample.numpy().clip(1e-300, 1.0)
    assert np.isfinite(inside).all()
    if first >= 0.1:
        assert kstest(inside, beta_law(first, second).cdf).pvalue > 1e-3
    else:
        assert np.mean(inside > 0.5) == pytest.approx(0.5, abs=0.05)


def test_a_permutation_holds_every_row_once() -> None:
    order = ops.permutation(torch.zeros(50, 2), generator=generator())
    assert sorted(order.tolist()) == list(range(50))


def test_noise_on_soft_targets_stays_a_distribution_and_touches_only_the_mask() -> None:
    targets, mask = torch.full((2, 3, 5), 0.2), torch.tensor([[True, False, True], [False, False, True]])
    noisy = ops.laplace_soft_targets(targets, mask, epsilon=0.5, generator=generator())
    torch.testing.assert_close(noisy.sum(-1), torch.ones(2, 3))
    assert (noisy >= 0).all()
    assert torch.equal(noisy[~mask], targets[~mask])
    assert (noisy[mask] != 0.2).any(-1).all()
    faint = ops.laplace_soft_targets(targets, mask, epsilon=1e6, generator=generator())
    torch.testing.assert_close(faint, targets, atol=1e-5, rtol=0)


def test_noise_has_scale_one_over_epsilon_times_classes() -> None:
    """Two entries of Laplace noise of scale b differ by 3b/2 on average. Large targets, so that nothing is clipped."""
    targets = torch.full((20000, 4), 100.0, dtype=torch.float64)
    noisy = ops.laplace_soft_targets(targets, torch.ones(20000, dtype=torch.bool), epsilon=0.5, generator=generator())
    apart = 400 * (noisy[:, 0] - noisy[:, 1]).abs().mean()
    assert apart.item() == pytest.approx(1.5 / (0.5 * 4), rel=0.03)


def test_noise_needs_no_values() -> None:
    with FakeTensorMode():
        like, generator = torch.empty(3, 4), torch.Generator()
        assert ops.beta(like, generator=generator).shape == (3,)
        assert ops.permutation(like, generator=generator).shape == (3,)
        assert ops.standard_normal(like, generator=generator).shape == (3, 4)
        assert ops.laplace_soft_targets(like, torch.ones(3, dtype=torch.bool), generator=generator).shape == (3, 4)


def test_permuted_columns_keep_each_rows_numbers() -> None:
    matrix = torch.arange(12.0).view(3, 4)
    mixed = ops.permute_columns(matrix, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mixed.sort(1).values, matrix)
    assert not torch.equal(mixed, matrix)


@pytest.mark.parametrize("count", [2, 3, 20])
def test_a_displaced_order_leaves_nothing_in_its_place(count) -> None:
    orders = [ops.permutation(torch.zeros(count), displaced=True, generator=generator(seed)) for seed in range(50)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(count))
        assert (order != torch.arange(count)).all()
    assert count == 2 or len({tuple(order.tolist()) for order in orders}) > 1
    assert torch.equal(ops.permutation(torch.zeros(1), displaced=True, generator=generator()), torch.tensor([0]))
