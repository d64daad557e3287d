"""Plain tensor functions and seeded noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta as beta_law
from scipy.stats import kstest
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from kdrun import ops


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_arithmetic() -> None:
    one, two = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    assert ops.add(one, two, two).tolist() == [7.0, 12.0]
    assert ops.subtract(two, one).tolist() == [2.0, 3.0]
    assert ops.scale(one, by=-2.0).tolist() == [-2.0, -4.0]
    assert ops.weighted_sum(one, two, weights=[2.0, -1.0]).tolist() == [-1.0, -1.0]
    assert ops.mean(two).item() == 4.0
    assert ops.mean(one, two).tolist() == [2.0, 3.5]
    assert ops.sum_squares(two).item() == 34.0
    with pytest.raises(ValueError, match="2 tensors and 1 weights"):
        ops.weighted_sum(one, two, weights=[1.0])


def test_one_weight_a_row_is_spread_over_the_other_axes() -> None:
    weights, value = torch.tensor([1.0, 10.0]), torch.ones(2, 3)
    assert ops.multiply(weights, value).tolist() == [[1.0] * 3, [10.0] * 3]
    torch.testing.assert_close(ops.multiply(value, weights), ops.multiply(weights, value))


def test_losses_are_mixed_a_sample_and_other_shapes_refused() -> None:
    first, alpha = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.25])
    assert ops.mix_losses(first, 10 * first, alpha).item() == pytest.approx((1 + 0.75 + 22.5) / 2)
    with pytest.raises(ValueError, match=r"\[2, 1\]"):
        ops.mix_losses(first, first, alpha.unsqueeze(1))


def test_above_the_cap_there_is_no_gradient() -> None:
    value = torch.tensor([1.0, 5.0], requires_grad=True)
    ops.capped(value, cap=2.0).sum().backward()
    assert value.grad.tolist() == [1.0, 0.0]


def test_labels_as_rows_and_back() -> None:
    labels = torch.tensor([[2, 0], [1, 1]])
    rows = ops.one_hot(labels, classes=3)
    assert rows.dtype == torch.float32
    assert rows[0].tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert torch.equal(ops.hard_label(rows), labels)
    assert ops.gather(torch.tensor([[1.0], [2.0], [3.0]]), labels).shape == (2, 2, 1)


def test_softmax_takes_one_temperature_or_one_a_row() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    per_row = ops.softmax(logits, torch.tensor([1.0, 4.0]))
    torch.testing.assert_close(per_row[0], ops.softmax(logits)[0])
    torch.testing.assert_close(per_row[1], ops.softmax(logits, temperature=4.0)[1])
    torch.testing.assert_close(ops.log_softmax(logits, temperature=4.0).exp(), ops.softmax(logits, temperature=4.0))


def test_normalising_keeps_zero() -> None:
    value = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert ops.normalize(value).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert ops.normalize(value, order=1.0)[0].tolist() == pytest.approx([3 / 7, 4 / 7])


def test_maps_and_tokens() -> None:
    maps = torch.arange(32.0).reshape(1, 2, 4, 4)
    assert ops.global_average_pool(maps).tolist() == [[7.5, 23.5]]
    assert ops.flatten(maps).shape == (1, 32)
    tokens = ops.tokens_from_map(maps, grid=2)
    assert tokens.shape == (1, 4, 2)
    assert tokens[0, 1].tolist() == [4.5, 20.5]
    assert ops.tokens_from_map(maps, grid=8).shape == (1, 16, 2)
    assert ops.resize_maps(maps, torch.zeros(1, 9, 2, 8)).shape == (1, 2, 2, 4)
    assert ops.concatenate(maps, maps).shape == (1, 4, 4, 4)
    assert ops.stack(maps, maps).shape == (2, 1, 2, 4, 4)
    assert not ops.detach(maps.requires_grad_()).requires_grad


@pytest.mark.parametrize("draw", [ops.standard_normal, ops.uniform])
def test_noise_has_the_shape_and_type_asked_for_and_repeats_by_seed(draw) -> None:
    like = torch.zeros(3, 2, 4, dtype=torch.float64)
    noise = draw(like, generator=seeded())
    assert noise.shape == like.shape
    assert noise.dtype == torch.float64
    assert draw(like, features=5, generator=seeded()).shape == (3, 5)
    assert draw(like, per_row=True, generator=seeded()).shape == (3,)
    assert torch.equal(draw(like, generator=seeded()), noise)
    assert not torch.equal(draw(like, generator=seeded(1)), noise)
    assert draw(torch.zeros(3, dtype=torch.int64), generator=seeded()).is_floating_point()


def test_uniform_range() -> None:
    noise = ops.uniform(torch.zeros(4000), low=-1.0, high=3.0, generator=seeded())
    assert kstest(noise.numpy(), "uniform", (-1.0, 4.0)).pvalue > 1e-3


@pytest.mark.parametrize(("first", "second"), [(0.1, 0.1), (2.0, 5.0), (1.0, 1.0), (0.01, 0.01)])
def test_beta_law(first, second) -> None:
    sample = ops.beta(torch.zeros(4000, 2, dtype=torch.float64), first=first, second=second, generator=seeded())
    assert sample.shape == (4000,)
    inside = sample.numpy().clip(1e-300, 1.0)
    assert np.isfinite(inside).all()
    if first >= 0.1:
        assert kstest(inside, beta_law(first, second).cdf).pvalue > 1e-3
    else:
        assert np.mean(inside > 0.5) == pytest.approx(0.5, abs=0.05)


def test_a_permutation_holds_every_row_once() -> None:
    order = ops.permutation(torch.zeros(50, 2), generator=seeded())
    assert sorted(order.tolist()) == list(range(50))


def image(seed: int) -> Tensor:
    return torch.randn(3, 2, 6, 6, generator=seeded(seed), dtype=torch.float64) * (seed + 2) + seed


def test_mixing_with_share_one_changes_nothing_and_zero_takes_the_partners_statistics() -> None:
    images, order = image(1) * torch.tensor([1.0, 2.0, 5.0]).reshape(3, 1, 1, 1), torch.tensor([1, 2, 0])
    same = ops.mix_statistics(images, torch.ones(3, dtype=torch.float64), order)
    torch.testing.assert_close(same, images)
    swapped = ops.mix_statistics(images, torch.zeros(3, dtype=torch.float64), order)
    torch.testing.assert_close(swapped.mean((2, 3)), images.mean((2, 3))[order])
    torch.testing.assert_close(swapped.std((2, 3)), images.std((2, 3))[order], rtol=1e-5, atol=0)


def test_noise_on_soft_targets_stays_a_distribution_and_touches_only_the_mask() -> None:
    targets, mask = torch.full((2, 3, 5), 0.2), torch.tensor([[True, False, True], [False, False, True]])
    noisy = ops.laplace_soft_targets(targets, mask, epsilon=0.5, generator=seeded())
    torch.testing.assert_close(noisy.sum(-1), torch.ones(2, 3))
    assert (noisy >= 0).all()
    assert torch.equal(noisy[~mask], targets[~mask])
    assert (noisy[mask] != 0.2).any(-1).all()
    faint = ops.laplace_soft_targets(targets, mask, epsilon=1e6, generator=seeded())
    torch.testing.assert_close(faint, targets, atol=1e-5, rtol=0)


def test_noise_has_scale_one_over_epsilon_times_classes() -> None:
    """Two entries of Laplace noise of scale b differ by 3b/2 on average. Large targets, so that nothing is clipped."""
    targets = torch.full((20000, 4), 100.0, dtype=torch.float64)
    noisy = ops.laplace_soft_targets(targets, torch.ones(20000, dtype=torch.bool), epsilon=0.5, generator=seeded())
    apart = 400 * (noisy[:, 0] - noisy[:, 1]).abs().mean()
    assert apart.item() == pytest.approx(1.5 / (0.5 * 4), rel=0.03)


def test_noise_needs_no_values() -> None:
    with FakeTensorMode():
        like, generator = torch.empty(3, 4), torch.Generator()
        assert ops.beta(like, generator=generator).shape == (3,)
        assert ops.permutation(like, generator=generator).shape == (3,)
        assert ops.standard_normal(like, generator=generator).shape == (3, 4)
        assert ops.laplace_soft_targets(like, torch.ones(3, dtype=torch.bool), generator=generator).shape == (3, 4)


def test_shares_of_rows_are_spread_over_the_other_axes() -> None:
    first, second = torch.ones(2, 3, 4), torch.zeros(2, 3, 4)
    mixed = ops.interpolate(first, second, torch.tensor([0.25, 1.0]))
    assert torch.equal(mixed[0], torch.full((3, 4), 0.25))
    assert torch.equal(mixed[1], first[1])
