"""Losses of labels that hold side by side."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kdrun.ops.divergences import kl_divergence
from kdrun.ops.multi_label import binary_cross_entropy, binary_kl_divergence


def two_classes(logits: torch.Tensor) -> torch.Tensor:
    """Each label as a choice of two classes: a sigmoid is a softmax over its logit and 0."""
    return torch.stack([logits, torch.zeros_like(logits)], -1)


def test_a_label_is_a_choice_of_two_classes() -> None:
    student, teacher = torch.randn(2, 5, 3, dtype=torch.float64)
    options = {"temperature": 3.0, "squared_temperature": True}
    summed = kl_divergence(two_classes(student), two_classes(teacher), reduction="sum", **options)
    torch.testing.assert_close(binary_kl_divergence(student, teacher, **options), summed / 5)
    label = torch.randint(0, 2, (5, 3))
    expected = F.cross_entropy(two_classes(student).reshape(-1, 2), 1 - label.flatten())
    torch.testing.assert_close(binary_cross_entropy(student, label), expected)


def test_soft_labels_positive_weight_and_smoothing_are_those_of_torch() -> None:
    logits, soft = torch.randn(4, 3, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(logits, soft, pos_weight=torch.tensor(2.5))
    torch.testing.assert_close(binary_cross_entropy(logits, soft, positive_weight=2.5), expected)
    smoothed = F.binary_cross_entropy_with_logits(logits, 0.8 * soft + 0.1)
    torch.testing.assert_close(binary_cross_entropy(logits, soft, label_smoothing=0.2), smoothed)


def test_the_gradient_of_the_divergence_is_the_difference_of_the_sigmoids() -> None:
    student, teacher = torch.randn(2, 6, dtype=torch.float64)
    student.requires_grad_()
    binary_kl_divergence(student[None], teacher[None]).backward()
    torch.testing.assert_close(student.grad, student.detach().sigmoid() - teacher.sigmoid())


def test_labels_that_are_not_known_do_not_count() -> None:
    logits, label = torch.randn(4, 3), torch.randint(0, 2, (4, 3)).float()
    mask = torch.rand(4, 3) > 0.5
    found = binary_cross_entropy(logits, label, None, mask)
    torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(logits[mask], label[mask]))
    with pytest.raises(ValueError, match="logits and targets"):
        binary_cross_entropy(logits, label[:, 0])


def test_certain_and_wrong_is_finite() -> None:
    far = torch.tensor([[200.0, -200.0]], requires_grad=True)
    value = binary_cross_entropy(far, torch.tensor([[0.0, 1.0]])) + binary_kl_divergence(far, -far.detach())
    value.backward()
    assert value.item() == pytest.approx(200 + 400)
    assert torch.isfinite(far.grad).all()
