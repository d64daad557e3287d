"""Gradients of classifiers at their predictions."""

from __future__ import annotations

import torch

from kdrun.ops.classification import classifier_gradient


def test_the_classifier_gradient_is_that_of_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    feature, weight = torch.randn(5, 4, generator=generator), torch.randn(3, 4, generator=generator).requires_grad_()
    label = torch.tensor([0, 1, 2, 2, 1])
    logits = feature @ weight.T
    (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, label), [weight], retain_graph=True)
    assert torch.allclose(classifier_gradient(logits, label, feature), expected, atol=1e-6)
