"""Mixtures of models' knowledge, and games between networks."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops
from kdrun.metrics.comparison import group_weights
from kdrun.ops.classification import classifier_gradient
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


def test_permuted_columns_keep_each_rows_numbers() -> None:
    matrix = torch.arange(12.0).view(3, 4)
    mixed = ops.permute_columns(matrix, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mixed.sort(1).values, matrix)
    assert not torch.equal(mixed, matrix)


def test_shares_and_group_weights() -> None:
    assert ops.row_shares([torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0])]).tolist() == [
        [0.25, 0.75],
        [0.5, 0.5],
    ]
    weights = torch.tensor([[0.5, 0.3, 0.1, 0.1]] * 2 + [[0.1, 0.1, 0.5, 0.3]] * 2)
    found = group_weights(weights, groups=2)
    assert found == pytest.approx({"own": 0.4, "within": 0.4, "between": 0.1})


def test_the_own_expert_is_left_out_and_the_order_kept() -> None:
    tokens = torch.arange(3.0).view(1, 3, 1).expand(3, 3, 2)
    found = ops.exclude_expert(tokens, torch.tensor([0, 1, 2]))
    assert found[..., 0].tolist() == [[1, 2], [0, 2], [0, 1]]


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


def test_views_of_no_strength_are_the_image_and_pass_gradients() -> None:
    image = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    same = ops.random_affine_view(image, rotation=0.0, zoom=0.0, shift=0.0, generator=generator)
    assert torch.allclose(same, image, atol=1e-5)
    assert torch.allclose(ops.random_contrast_view(image, brightness=0.0, contrast=0.0, generator=generator), image)
    ops.random_contrast_view(ops.random_affine_view(image, generator=generator), generator=generator).sum().backward()
    assert image.grad.abs().sum() > 0


def test_the_classifier_gradient_is_that_of_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    feature, weight = torch.randn(5, 4, generator=generator), torch.randn(3, 4, generator=generator).requires_grad_()
    label = torch.tensor([0, 1, 2, 2, 1])
    logits = feature @ weight.T
    (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, label), [weight], retain_graph=True)
    assert torch.allclose(classifier_gradient(logits, label, feature), expected, atol=1e-6)
