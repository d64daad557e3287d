"""Losses from preferences, rankings and rewards, against closed forms, limits and gradients."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck

from kdrun.ops.preferences import (
    listwise_ranking_loss,
    policy_gradient_loss,
    preference_loss,
    rank_hinge_loss,
)
from support.tensors import generator


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(), dtype=torch.float64)


def test_a_preference_counts_only_what_the_model_adds_to_its_reference() -> None:
    better, worse, before, after = drawn(4, 5)
    loss = preference_loss(better, worse, before, after, beta=0.7)
    shift = drawn(5)
    assert preference_loss(better + shift, worse + shift, before, after, beta=0.7).item() == pytest.approx(loss.item())
    margin = 0.7 * ((better - before) - (worse - after))
    assert loss.item() == pytest.approx(-(1 / (1 + (-margin).exp())).log().mean().item())
    assert preference_loss(before, after, before, after).item() == pytest.approx(math.log(2))


def test_the_gradient_of_a_preference_lifts_the_better_and_sinks_the_worse_alike() -> None:
    better, worse = torch.zeros(2, 3, dtype=torch.float64).requires_grad_().unbind(0)
    zeros = torch.zeros(3, dtype=torch.float64)
    up, down = torch.autograd.grad(preference_loss(better, worse, zeros, zeros, beta=0.4), (better, worse))
    assert torch.allclose(up, torch.full_like(up, -0.4 / 2 / 3))  # β σ(0) a row
    assert torch.allclose(up, -down)


def test_a_hinge_of_ranks_is_the_sum_over_wrongly_ordered_pairs() -> None:
    scores, quality = drawn(3, 4), torch.tensor([[4.0, 1.0, 3.0, 2.0], [1.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    total = 0.0
    for row, (i, j) in itertools.product(range(3), itertools.permutations(range(4), 2)):
        if quality[row, i] < quality[row, j]:
            total += max(0.0, (scores[row, i] - scores[row, j]).item())
    assert rank_hinge_loss(scores, quality.double()).item() == pytest.approx(total / 3)
    assert rank_hinge_loss(quality, quality).item() == 0.0
    assert rank_hinge_loss(scores[2:], quality[2:].double()).item() == 0.0  # equal answers have no order


def test_probabilities_of_all_rankings_sum_to_one() -> None:
    scores = drawn(1, 4)
    orders = [scores[:, list(order)] for order in itertools.permutations(range(4))]
    assert sum(math.exp(-listwise_ranking_loss(order).item()) for order in orders) == pytest.approx(1.0)


def test_a_list_is_ranked_by_quality_and_of_two_it_is_the_logistic_pair() -> None:
    scores, quality = drawn(2, 3), torch.tensor([[1.0, 3.0, 2.0], [3.0, 1.0, 2.0]]).double()
    by_hand = torch.stack([scores[0, [1, 2, 0]], scores[1, [0, 2, 1]]])
    assert listwise_ranking_loss(scores, quality).item() == pytest.approx(listwise_ranking_loss(by_hand).item())
    assert listwise_ranking_loss(scores + 7.0).item() == pytest.approx(listwise_ranking_loss(scores).item())
    pair = drawn(5, 2)
    expected = torch.nn.functional.softplus(pair[:, 1] - pair[:, 0]).mean()
    assert listwise_ranking_loss(pair).item() == pytest.approx(expected.item())


def test_the_policy_gradient_is_that_of_the_expected_reward_for_any_baseline() -> None:
    logits, reward = drawn(4).requires_grad_(), drawn(4)
    (exact,) = torch.autograd.grad((logits.softmax(0) * reward).sum(), logits)
    for baseline in (torch.tensor(0.0).double(), torch.tensor(2.5).double()):
        # Every answer as often as the policy draws it: each one's loss, weighted by its probability.
        share = logits.softmax(0).detach()
        losses = [
            weight * policy_gradient_loss(logits.log_softmax(0)[i : i + 1], reward[i : i + 1], baseline)
            for i, weight in enumerate(share)
        ]
        (estimate,) = torch.autograd.grad(torch.stack(losses).sum(), logits)
        assert torch.allclose(estimate, -exact)


def test_no_gradient_flows_through_rewards() -> None:
    reward, baseline = drawn(3).requires_grad_(), drawn(3).requires_grad_()
    likelihood = drawn(3).requires_grad_()
    policy_gradient_loss(likelihood, reward, baseline).backward()
    assert reward.grad is None
    assert baseline.grad is None
    assert torch.allclose(likelihood.grad, -(reward - baseline).detach() / 3)


def test_gradients_agree_with_differences() -> None:
    quality = torch.tensor([[1.0, 3.0, 2.0], [3.0, 1.0, 2.0]]).double()
    assert gradcheck(lambda s: listwise_ranking_loss(s, quality), drawn(2, 3).requires_grad_())
    assert gradcheck(lambda s: rank_hinge_loss(s, quality), drawn(2, 3).requires_grad_())
    assert gradcheck(preference_loss, tuple(v.requires_grad_() for v in drawn(4, 3).unbind(0)))


def test_shapes_that_differ_are_refused() -> None:
    two, three = torch.zeros(2), torch.zeros(3)
    with pytest.raises(ValueError, match="the likelihoods"):
        preference_loss(two, two, three, two)
    with pytest.raises(ValueError, match="likelihoods and rewards"):
        policy_gradient_loss(two, three)
    for loss in (rank_hinge_loss, listwise_ranking_loss):
        with pytest.raises(ValueError, match="scores and qualities"):
            loss(torch.zeros(1, 2), torch.zeros(1, 3))
