"""Running covariances of classes, the bound on what they vary, and drawing them apart."""

from __future__ import annotations

import pytest
import torch

from kdrun.ops.class_covariances import (
    feature_disentanglement,
    implicit_feature_augmentation,
    running_class_covariance,
)
from support.tensors import rows as drawn

CLASSES, DIM = 3, 4


def empty() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return tuple(torch.zeros(CLASSES, width, dtype=torch.float64) for width in (1, DIM, DIM * DIM))


def test_batches_one_after_the_other_give_the_covariance_of_all_rows() -> None:
    z, y = drawn(60, DIM), torch.arange(60) % 2  # nobody is of class 2
    kept = empty()
    for rows in torch.arange(60).split([1, 20, 7, 32]):
        found = running_class_covariance(z[rows], y[rows], *kept)
    for c in (0, 1):
        torch.testing.assert_close(found[c], torch.cov(z[y == c].T, correction=0))
        torch.testing.assert_close(kept[1][c], z[y == c].mean(0))
    torch.testing.assert_close(kept[2].view_as(found), found)
    assert kept[0].flatten().tolist() == [30, 30, 0]
    assert not found[2].any()


def test_the_gradient_comes_through_the_batch_alone() -> None:
    kept = empty()
    before = drawn(9, DIM).requires_grad_()
    running_class_covariance(before, torch.arange(9) % 3, *kept)
    z, y = drawn(6, DIM, seed=1).requires_grad_(), torch.tensor([0, 0, 0, 0, 1, 1])
    held = [value.clone() for value in kept]

    def of(rows: torch.Tensor) -> torch.Tensor:
        return running_class_covariance(rows, y, *[value.clone() for value in held])

    assert torch.autograd.gradcheck(of, (z,))
    assert not any(value.requires_grad for value in kept)


def test_the_bound_holds_for_gaussian_variations() -> None:
    """The mean of 2·Σ -log p_i over drawn features lies below the closed form, and meets it as the covariance shrinks."""
    weight, bias = drawn(CLASSES, DIM), drawn(CLASSES, seed=1)
    z, root = drawn(2, DIM, seed=2), 0.5 * drawn(CLASSES, DIM, DIM, seed=3)
    covariance = root @ root.transpose(1, 2)
    logits = z @ weight.T + bias
    for strength, slack in ((1.0, None), (1e-4, 1e-3)):
        bound = implicit_feature_augmentation(logits, weight, covariance, strength=strength, reduction="none")
        noise = drawn(200_000, 2, DIM, seed=4)
        spread = strength**0.5 * torch.einsum("bij,nbj->nbi", root[logits.argmax(1)], noise)
        sampled = -2 * ((z + spread) @ weight.T + bias).log_softmax(2).sum(2).mean(0)
        assert (bound > sampled - 1e-2).all()
        if slack is not None:
            torch.testing.assert_close(bound, sampled, atol=slack, rtol=slack)


def test_the_bound_is_the_same_for_any_common_shift_of_rows_and_grows_with_strength() -> None:
    weight, root = drawn(CLASSES, DIM), drawn(CLASSES, DIM, DIM, seed=1)
    logits, covariance = drawn(5, CLASSES, seed=2), root @ root.transpose(1, 2)
    found = implicit_feature_augmentation(logits, weight, covariance)
    shifted = implicit_feature_augmentation(logits + 3, weight + drawn(1, DIM, seed=5), covariance)
    torch.testing.assert_close(found, shifted)
    assert implicit_feature_augmentation(logits, weight, covariance, strength=2.0) > found
    still = implicit_feature_augmentation(logits, weight, covariance, strength=0.0)
    torch.testing.assert_close(still, -2 * logits.log_softmax(1).sum(1).mean())


def test_only_the_likeliest_class_lends_its_covariance() -> None:
    weight, logits = drawn(CLASSES, DIM), torch.tensor([[0.0, 3.0, 1.0]], dtype=torch.float64)
    covariance = torch.eye(DIM, dtype=torch.float64).repeat(CLASSES, 1, 1)
    other = covariance.clone()
    other[[0, 2]] *= 100
    first, second = (implicit_feature_augmentation(logits, weight, c) for c in (covariance, other))
    assert torch.equal(first, second)


def test_descent_on_disentanglement_turns_confused_covariances_apart() -> None:
    scores = torch.tensor([[0.6, 0.4, 0.0], [0.4, 0.6, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    labels = torch.arange(3)
    root = drawn(CLASSES, DIM, DIM)
    covariance = (root @ root.transpose(1, 2)).requires_grad_()
    loss = feature_disentanglement(scores.requires_grad_(), labels, covariance)
    (slope,) = torch.autograd.grad(loss, covariance)
    cosine = torch.cosine_similarity(covariance[0].flatten(), covariance[1].flatten(), dim=0)
    assert loss.item() == pytest.approx(-0.48 * (1 - cosine.item()))  # 0.6·0.4 + 0.4·0.6, and each pair twice
    assert not slope[2].any(), "nobody confuses the third class"
    assert loss > feature_disentanglement(scores, labels, covariance - 0.1 * slope)
    assert scores.grad is None


def test_labels_without_rows_and_empty_covariances_are_no_nan() -> None:
    covariance = torch.zeros(CLASSES, DIM, DIM, dtype=torch.float64).requires_grad_()
    scores = torch.full((2, CLASSES), 1 / 3, dtype=torch.float64)
    loss = feature_disentanglement(scores, torch.tensor([0, 0]), covariance)
    (slope,) = torch.autograd.grad(loss, covariance)
    assert loss.item() == 0
    assert torch.isfinite(slope).all()
