"""Cross entropy: smoothing, soft labels, weights, masks; gradients of classifiers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kdrun import ops
from kdrun.ops.classification import classifier_gradient, cross_entropy
from support.arrays import soft
from support.tensors import rows, student_and_teacher


def test_smoothing_mixes_the_label_with_the_uniform() -> None:
    pair = student_and_teacher()
    logits, _ = pair
    labels = torch.tensor([0, 1, 2, 3])
    uniform = torch.full((4, 5), 0.2, dtype=torch.float64)
    mixed = 0.7 * cross_entropy(logits, labels) + 0.3 * cross_entropy(logits, uniform)
    torch.testing.assert_close(cross_entropy(logits, labels, label_smoothing=0.3), mixed)


def test_cross_entropy_of_probabilities_is_that_of_their_logits() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 3, -100, 1, 2, 0])
    for target, smoothing in ((labels, 0.0), (labels, 0.2), (torch.rand(6, 4).softmax(-1), 0.1)):
        expected = cross_entropy(logits, target, label_smoothing=smoothing)
        found = cross_entropy(logits.softmax(-1), target, label_smoothing=smoothing, given="probabilities")
        torch.testing.assert_close(found, expected)
    sure = torch.tensor([[1.0, 0.0]])
    assert cross_entropy(sure, torch.tensor([1]), given="probabilities", eps=1e-5).item() == pytest.approx(
        -math.log(1e-5), rel=1e-5
    )


STUDENT, TEACHER = rows(5, 4), rows(5, 4, seed=1)


def test_cross_entropy_counts_only_answer_tokens() -> None:
    logits, labels = rows(2, 3, 4), torch.tensor([[1, 2, -100], [-100, -100, 0]])
    logs = np.log(soft(logits))
    kept = [-logs[0, 0, 1], -logs[0, 1, 2], -logs[1, 2, 0]]
    assert ops.cross_entropy(logits, labels).item() == pytest.approx(np.mean(kept))
    mask = torch.tensor([[True, False, True], [True, True, True]])
    assert ops.cross_entropy(logits, labels, mask=mask).item() == pytest.approx((kept[0] + kept[2]) / 2)
    assert ops.cross_entropy(logits, torch.full((2, 3), -100)).item() == 0.0


def test_cross_entropy_with_soft_labels_and_weights() -> None:
    targets = torch.tensor(soft(TEACHER))
    per_row = -(soft(TEACHER) * np.log(soft(STUDENT))).sum(1)
    np.testing.assert_allclose(ops.cross_entropy(STUDENT, targets, reduction="none"), per_row)
    weights = torch.tensor([1.0, 0.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    value = ops.cross_entropy(STUDENT, targets, weights, reduction="weighted_mean").item()
    assert value == pytest.approx((per_row * weights.numpy()).sum() / 4)


def test_the_classifier_gradient_is_that_of_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    feature, weight = torch.randn(5, 4, generator=generator), torch.randn(3, 4, generator=generator).requires_grad_()
    label = torch.tensor([0, 1, 2, 2, 1])
    logits = feature @ weight.T
    (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, label), [weight], retain_graph=True)
    assert torch.allclose(classifier_gradient(logits, label, feature), expected, atol=1e-6)
