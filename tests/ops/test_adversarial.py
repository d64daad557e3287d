"""Losses of games between models."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops


def test_gan_losses_agree_between_scores_and_probabilities() -> None:
    fake, real = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    for by_score, by_probability in (
        (
            ops.gan_discriminator_loss(fake, real),
            ops.gan_discriminator_loss(fake.sigmoid(), real.sigmoid(), mode="bce"),
        ),
        (ops.gan_generator_loss(fake), ops.gan_generator_loss(fake.sigmoid(), mode="bce")),
    ):
        assert torch.allclose(by_score, by_probability, atol=1e-5)
    assert ops.gan_discriminator_loss(-torch.ones(2) * 2, torch.ones(2) * 2, mode="hinge") == 0


def test_the_margin_is_negative_once_the_class_leads() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 4.0]], requires_grad=True)
    loss = ops.max_margin_loss(logits, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((-2.0 + 3.0) / 2)
    loss.backward()
    assert logits.grad.tolist() == [[-0.5, 0.5, 0.0], [0.0, -0.5, 0.5]]


@pytest.mark.parametrize("mode", ["clamp", "tanh"])
def test_a_perturbation_is_bounded_odd_and_small_where_its_value_is_small(mode) -> None:
    value = torch.linspace(-3, 3, 61)
    found = ops.linf_bound(value, bound=8 / 255, mode=mode)
    assert found.abs().max() <= 8 / 255
    assert torch.allclose(found, -found.flip(0), atol=1e-7)
    assert (found.diff() >= 0).all()
    small = torch.tensor([1e-4])
    slope = ops.linf_bound(small, bound=8 / 255, mode=mode) / small
    assert slope.item() == pytest.approx(1.0 if mode == "clamp" else 8 / 255, rel=1e-3)


def test_only_the_smooth_bound_has_a_gradient_beyond_it() -> None:
    for mode, moves in (("clamp", False), ("tanh", True)):
        value = torch.tensor([0.5], requires_grad=True)
        ops.linf_bound(value, bound=0.1, mode=mode).sum().backward()
        assert bool(value.grad.abs() > 0) is moves


def test_a_perturbation_is_bounded_before_its_nearest_elements_are_taken() -> None:
    value = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    found = ops.linf_bound(value, bound=0.5, size=4)
    places = torch.tensor([i * 7 // 4 for i in range(4)])
    assert torch.equal(found, value.clamp(-0.5, 0.5)[:, :, places][:, :, :, places])
