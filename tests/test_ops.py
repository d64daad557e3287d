"""The maths of ops: closed forms, limits, invariances and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from kdrun.ops.arithmetic import mix_losses
from kdrun.ops.classification import cross_entropy
from kdrun.ops.distances import feature_mse
from kdrun.ops.divergences import kl_divergence
from kdrun.ops.features import attention_transfer, norm_direction_loss
from kdrun.ops.maps import global_average_pool


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(4, 5, dtype=torch.float64, requires_grad=True), torch.randn(4, 5, dtype=torch.float64)


def test_kl_of_two_coins_in_closed_form() -> None:
    student = torch.tensor([[0.0, 0.0]])
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert kl_divergence(student, teacher).item() == pytest.approx(expected, rel=1e-6)


def test_kl_is_zero_at_equality_and_ignores_shifts(pair) -> None:
    student, teacher = pair
    assert kl_divergence(teacher + 3.0, teacher, temperature=2.0).item() == pytest.approx(0.0, abs=1e-12)
    assert kl_divergence(student + 7.0, teacher).item() == pytest.approx(kl_divergence(student, teacher).item())


def test_kl_at_high_temperature_is_half_the_squared_logit_distance(pair) -> None:
    """Hinton et al. (2015), section 2.1: for T large and centred logits, T² KL → Σ (z_s − z_t)² / 2K."""
    student, teacher = (x - x.mean(1, keepdim=True) for x in pair)
    hot = kl_divergence(student, teacher, temperature=1e4, squared_temperature=True)
    torch.testing.assert_close(hot, (student - teacher).square().sum(1).mean() / 10, rtol=1e-3, atol=0)


def test_kl_reductions_agree(pair) -> None:
    student, teacher = pair
    rows = kl_divergence(student, teacher, reduction="none")
    assert rows.shape == (4,)
    torch.testing.assert_close(rows.mean(), kl_divergence(student, teacher))
    torch.testing.assert_close(rows.sum() / 20, kl_divergence(student, teacher, reduction="element_mean"))


def test_smoothing_mixes_the_label_with_the_uniform(pair) -> None:
    logits, _ = pair
    labels = torch.tensor([0, 1, 2, 3])
    uniform = torch.full((4, 5), 0.2, dtype=torch.float64)
    mixed = 0.7 * cross_entropy(logits, labels) + 0.3 * cross_entropy(logits, uniform)
    torch.testing.assert_close(cross_entropy(logits, labels, label_smoothing=0.3), mixed)


def test_gradients(pair) -> None:
    student, teacher = pair
    assert gradcheck(lambda s: kl_divergence(s, teacher, temperature=3.0), (student,))
    maps = torch.rand(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    other = torch.rand(2, 5, 4, 4, dtype=torch.float64)
    assert gradcheck(lambda m: attention_transfer(m, other), (maps,))
    means, labels = torch.randn(3, 5, dtype=torch.float64), torch.tensor([0, 2, 1, 0])
    assert gradcheck(lambda s: norm_direction_loss(s, teacher, means, labels), (student,))


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_attention_ignores_the_scale_and_the_number_of_channels(mode) -> None:
    torch.manual_seed(0)
    maps, other = torch.rand(2, 3, 6, 6), torch.rand(2, 7, 6, 6)
    value = attention_transfer(maps, other, mode=mode)
    torch.testing.assert_close(attention_transfer(5 * maps, other, mode=mode), value)
    torch.testing.assert_close(attention_transfer(torch.cat([maps, maps], 1), other, mode=mode), value)
    assert attention_transfer(maps, 2 * maps, mode=mode).item() == pytest.approx(0.0, abs=1e-10)


def test_attention_of_two_single_pixels_in_closed_form() -> None:
    """Unit attention at different pixels: two squared differences of 1 among four places; a distance of √2."""
    first, second = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    first[0, 0, 0, 0], second[0, 0, 1, 1] = 3.0, 0.5
    assert attention_transfer(first, second).item() == pytest.approx(2 / 4)
    assert attention_transfer(first, second, mode="paper").item() == pytest.approx(math.sqrt(2))


def test_feature_mse_reductions_and_sizes() -> None:
    student, teacher = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 2, 2)
    assert feature_mse(student, teacher, match_size=True).item() == 1.0
    assert feature_mse(student, teacher, match_size=True, reduction="sum").item() == 24.0
    assert feature_mse(student, teacher, match_size=True, reduction="batch_mean").item() == 12.0


def test_norm_direction_is_zero_exactly_along_the_mean_and_long_enough() -> None:
    means = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    teacher = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1])
    long = torch.stack([5.0 * F.normalize(means, dim=1)[0], 1.0 * F.normalize(means, dim=1)[1]])
    assert norm_direction_loss(long, teacher, means, labels).item() == pytest.approx(0.0, abs=1e-6)
    short = torch.stack([0.5 * F.normalize(means, dim=1)[0], torch.tensor([0.0, 1.0])])
    assert norm_direction_loss(short, teacher, means, labels).item() == pytest.approx((1 - 0.5 / 2) / 2)
    across = torch.tensor([[-8.0, 6.0], [0.0, 1.0]])
    assert norm_direction_loss(across, teacher, means, labels).item() == pytest.approx(0.5, abs=1e-6)


def test_small_helpers() -> None:
    assert global_average_pool(torch.arange(8.0).view(1, 2, 2, 2)).tolist() == [[1.5, 5.5]]
    one = torch.tensor([1.0, 3.0])
    assert mix_losses(one, 10 * one, torch.tensor([1.0, 0.0])).item() == pytest.approx((1 + 30) / 2)
