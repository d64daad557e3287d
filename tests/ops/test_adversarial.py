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
