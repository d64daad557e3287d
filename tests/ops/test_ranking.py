"""Ranking losses and ranks, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.ops.ranking import (
    filtered_rank,
    negative_sampling_loss,
    pairwise_ranking_loss,
    partner_rank,
    self_adversarial_weight,
)

POSITIVE = torch.tensor([2.0, 0.5])

NEGATIVE = torch.tensor([[0.0, 1.5, 9.0], [0.0, 0.0, 9.0]])

KEPT = torch.tensor([[True, True, False], [True, True, False]])


def test_the_hinge_counts_what_lies_within_the_margin() -> None:
    assert pairwise_ranking_loss(POSITIVE, NEGATIVE, KEPT).item() == pytest.approx((0.25 + 0.5) / 2)
    assert pairwise_ranking_loss(POSITIVE, NEGATIVE, KEPT, margin=-1.0).item() == 0.0
    assert pairwise_ranking_loss(POSITIVE, POSITIVE[:, None], link="logistic", margin=0.0).item() == pytest.approx(
        math.log(2)
    )


def test_negative_sampling_of_scores_at_the_threshold_is_twice_log_two() -> None:
    at = torch.full((4,), -3.0)
    loss = negative_sampling_loss(at, at[:, None].expand(4, 5), margin=3.0)
    assert loss.item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("loss", [pairwise_ranking_loss, negative_sampling_loss])
def test_masked_negatives_have_neither_value_nor_gradient_nor_share_in_the_mean(loss) -> None:
    positive, negative = POSITIVE.clone().requires_grad_(), NEGATIVE.clone().requires_grad_()
    full = loss(positive, negative, KEPT)
    assert full.item() == pytest.approx(loss(POSITIVE, NEGATIVE[:, :2]).item())
    full.backward()
    assert (negative.grad[:, 2] == 0).all()
    assert (positive.grad < 0).all() or loss is pairwise_ranking_loss
    assert loss(POSITIVE, NEGATIVE, torch.zeros_like(KEPT)).isfinite()


def test_equal_weights_are_the_mean() -> None:
    equal = torch.full_like(NEGATIVE, 1 / 3)
    weighted = negative_sampling_loss(POSITIVE, NEGATIVE, weights=equal)
    assert weighted.item() == pytest.approx(negative_sampling_loss(POSITIVE, NEGATIVE).item())


def test_self_adversarial_weights_are_a_masked_softmax_without_gradient() -> None:
    scores = NEGATIVE.clone().requires_grad_()
    weights = self_adversarial_weight(scores, KEPT)
    assert not weights.requires_grad
    assert torch.allclose(weights.sum(1), torch.ones(2))
    assert (weights[:, 2] == 0).all()
    assert (weights[0, 1] / weights[0, 0]).item() == pytest.approx(math.exp(1.5), rel=1e-5)
    assert torch.allclose(self_adversarial_weight(scores, temperature=1e-9), torch.full((2, 3), 1 / 3))
    nothing = self_adversarial_weight(scores, torch.zeros_like(KEPT))
    assert torch.equal(nothing, torch.zeros(2, 3))


SCORES = torch.tensor([[0.5, 0.9, 0.5, 0.1, 0.5]])

TRUTH = torch.tensor([2])


def test_ties_take_the_middle_or_the_best_place() -> None:
    assert filtered_rank(SCORES, TRUTH).tolist() == [3.0]  # places 2, 3 and 4 are shared
    assert filtered_rank(SCORES, TRUTH, ties="min").tolist() == [2.0]
    constant = torch.zeros(1, 9)
    assert filtered_rank(constant, TRUTH).tolist() == [5.0]


def test_other_right_answers_and_other_groups_do_not_count() -> None:
    known = torch.tensor([[False, True, True, False, False]])  # the true one is known, too
    assert filtered_rank(SCORES, TRUTH, known).tolist() == [2.0]
    groups = torch.tensor([0, 1, 1, 1, 0])
    assert filtered_rank(SCORES, TRUTH, groups=groups).tolist() == [2.0]
    assert filtered_rank(SCORES, TRUTH, known, groups).tolist() == [1.0]


def test_ranks_depend_on_order_alone() -> None:
    scores = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    truth = torch.arange(6)
    ranks = filtered_rank(scores, truth)
    assert torch.equal(ranks, filtered_rank(3 * scores.exp() + 7, truth))
    assert torch.equal(ranks, (scores >= scores[truth, truth][:, None]).sum(1).float())


def test_gradients_of_the_losses_are_right() -> None:
    positive = POSITIVE.double().requires_grad_()
    negative = (NEGATIVE.double() + 0.1).requires_grad_()
    for loss in (
        lambda p, n: pairwise_ranking_loss(p, n, KEPT),
        lambda p, n: pairwise_ranking_loss(p, n, link="logistic"),
        lambda p, n: negative_sampling_loss(p, n, KEPT, margin=1.0),
    ):
        assert torch.autograd.gradcheck(loss, (positive, negative))


def test_the_rank_of_a_partner_is_one_more_than_the_keys_that_are_nearer() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys = torch.randn(30, 4, generator=generator), torch.randn(30, 4, generator=generator)
    cosines = torch.nn.functional.cosine_similarity(queries[:, None], keys[None], dim=2)
    nearer = (cosines > cosines.diagonal()[:, None] + 1e-6).sum(1)
    assert torch.equal(partner_rank(queries, keys), (nearer + 1).float())
    assert torch.equal(partner_rank(3 * queries, keys / 2), partner_rank(queries, keys))
    assert partner_rank(keys, keys).max() == 1
    assert partner_rank(queries, torch.ones(30, 4)).unique().tolist() == [15.5]  # nothing is told apart


def test_copies_of_a_key_do_not_count_against_it() -> None:
    keys = torch.eye(3)[[0, 0, 1, 2]]
    queries = torch.tensor([[1.0, 0.9, 0.0], [1.0, 0.9, 0.0], [0.0, 1.0, 0.0], [0.9, 0.0, 1.0]])
    assert partner_rank(queries, keys, torch.tensor([0, 0, 1, 2])).tolist() == [1, 1, 1, 1]
    assert partner_rank(queries, keys).tolist() == [1.5, 1.5, 1, 1]
