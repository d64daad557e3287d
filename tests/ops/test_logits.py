"""Logit shifts, weights matched by divergence, and filters of samplers, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from kdrun.ops.logits import (
    kl_matched_weight,
    kl_matched_weights,
    logit_shift,
    restrict_classes,
    restrict_to_range,
    shift_divergence,
    suppressed_logits,
    top_k_filter,
    top_p_filter,
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    p, q = torch.distributions.Categorical(logits=first), torch.distributions.Categorical(logits=second)
    return torch.distributions.kl_divergence(p, q)


def test_a_shift_at_zero_is_the_large_model_and_at_one_a_product_of_experts() -> None:
    large, small, experts = draw(5, 7), draw(5, 7, seed=1), draw(2, 5, 7, seed=2)
    assert torch.equal(logit_shift(large, experts, small, torch.zeros(5, 2)), large)
    found = logit_shift(large, experts[:1], small, torch.ones(5, 1)).softmax(-1)
    product = large.softmax(-1) * experts[0].softmax(-1) / small.softmax(-1)
    torch.testing.assert_close(found, product / product.sum(-1, keepdim=True))
    weights = torch.tensor([[0.3, 0.0], [0.0, 2.0], [1.0, 1.0], [0.5, 0.1], [0.0, 0.0]], dtype=torch.float64)
    rows = logit_shift(large, experts, small, weights)
    for row in range(5):
        by_hand = large[row] + sum(weights[row, t] * (experts[t, row] - small[row]) for t in range(2))
        torch.testing.assert_close(rows[row], by_hand)
    with pytest.raises(ValueError, match="large and small must have one shape"):
        logit_shift(large, experts, small[:, :6], weights)


def test_divergence_of_a_shift_is_the_divergence_and_grows_by_the_variance() -> None:
    base, way = draw(4, 9), draw(4, 9, seed=1)
    weight = torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    found = shift_divergence(base, way, weight)
    torch.testing.assert_close(found, kl(base + weight[:, None] * way, base))
    (slope,) = torch.autograd.grad(found[1:].sum(), weight)
    p = (base + weight[:, None] * way).softmax(-1)
    variance = (p * way**2).sum(-1) - (p * way).sum(-1) ** 2
    torch.testing.assert_close(slope[1:], (weight * variance)[1:])


def test_the_weight_is_the_root_or_the_end_of_the_range() -> None:
    large, small = 2 * draw(64, 11), 2 * draw(64, 11, seed=1)
    expert = small + 1.5 * draw(64, 11, seed=2)
    weight = kl_matched_weight(large, expert, small)
    reached, wanted = kl(large + weight[:, None] * (expert - small), large), kl(expert, small)
    inside = weight < 2.0
    assert 0.2 < inside.double().mean() < 1.0
    torch.testing.assert_close(reached[inside], wanted[inside], atol=1e-4, rtol=0)
    assert (reached[~inside] < wanted[~inside]).all()


def test_the_same_base_needs_the_weight_one_and_no_tuning_the_weight_zero() -> None:
    small, expert = draw(6, 8), draw(6, 8, seed=1)
    torch.testing.assert_close(kl_matched_weight(small, expert, small), torch.ones(6).double(), atol=1e-5, rtol=0)
    assert torch.equal(kl_matched_weight(draw(6, 8, seed=2), small, small), torch.zeros(6).double())


def test_the_weight_does_not_see_constants_added_to_logits_and_is_each_rows_own() -> None:
    large, small, expert = draw(6, 8), draw(6, 8, seed=1), draw(6, 8, seed=2)
    weight = kl_matched_weight(large, expert, small)
    moved = kl_matched_weight(large + 3.0, expert - 5.0, small + 1.0)
    torch.testing.assert_close(moved, weight, atol=1e-5, rtol=0)
    alone = torch.cat([kl_matched_weight(large[i : i + 1], expert[i : i + 1], small[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(alone, weight)


def test_grid_and_bisection_agree_to_the_spacing() -> None:
    large, small = draw(128, 11), draw(128, 11, seed=1)
    expert = small + draw(128, 11, seed=2)
    root, grid = (kl_matched_weight(large, expert, small, method=m) for m in ("bisection", "grid"))
    assert (root - grid).abs().max() < 0.1
    torch.testing.assert_close(grid / 0.1, (grid / 0.1).round())
    finer = kl_matched_weight(large, expert, small, method="grid", spacing=0.01)
    assert (root - finer).abs().max() < 0.01


def test_several_weights_minimise_the_summed_squares() -> None:
    large, small = draw(16, 9), draw(16, 9, seed=1)
    experts = small + torch.stack([1.2 * draw(16, 9, seed=2), 0.4 * draw(16, 9, seed=3)])

    def loss(weights: torch.Tensor) -> torch.Tensor:
        moved = kl(logit_shift(large, experts, small, weights), large)
        return sum((moved - kl(expert, small)) ** 2 for expert in experts)

    grid = torch.cartesian_prod(*[torch.linspace(0, 2, 41, dtype=torch.float64)] * 2)
    best = torch.stack([loss(point.expand(16, 2)) for point in grid]).amin(0)
    for direction in ("largest", "mixture"):
        found = kl_matched_weights(large, experts, small, direction=direction)
        assert found.shape == (16, 2)
        inside = found.amax(1) < 2.0
        assert inside.sum() > 8
        assert (loss(found)[inside] <= best[inside] + 1e-6).all()


def test_directions_are_the_farthest_expert_or_shares_of_divergence() -> None:
    large, small = draw(10, 9), draw(10, 9, seed=1)
    experts = small + torch.stack([0.5 * draw(10, 9, seed=2), draw(10, 9, seed=3), torch.zeros(10, 9)])
    moved = torch.stack([kl(expert, small) for expert in experts], dim=1)
    largest = kl_matched_weights(large, experts, small)
    assert ((largest > 0).sum(1) == 1).all()
    assert torch.equal(largest.argmax(1), moved.argmax(1))
    mixture = kl_matched_weights(large, experts, small, direction="mixture")
    torch.testing.assert_close(mixture / mixture.sum(1, keepdim=True), moved / moved.sum(1, keepdim=True))
    one = kl_matched_weights(large, experts[:1], small)
    torch.testing.assert_close(one[:, 0], kl_matched_weight(large, experts[0], small))
    still = kl_matched_weights(large, small.expand(2, -1, -1), small, direction="mixture")
    assert torch.equal(still, torch.zeros_like(still))


def test_half_precision_is_solved_in_full() -> None:
    large, small, expert = draw(8, 50), draw(8, 50, seed=1), draw(8, 50, seed=2)
    half = [v.bfloat16() for v in (large, expert, small)]
    torch.testing.assert_close(kl_matched_weight(*half), kl_matched_weight(*[v.float() for v in half]))


def test_top_k_keeps_k() -> None:
    logits = draw(20, 13)
    kept = top_k_filter(logits, k=4) > -math.inf
    assert (kept.sum(1) == 4).all()
    assert (logits.masked_fill(~kept, math.inf).amin(1) >= logits.masked_fill(kept, -math.inf).amax(1)).all()
    assert torch.equal(top_k_filter(logits, k=99), logits)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9, 1.0])
def test_the_nucleus_is_the_smallest_set_of_that_mass(p) -> None:
    logits = 2 * draw(30, 13)
    probabilities = logits.softmax(-1)
    kept = top_p_filter(logits, p=p) > -math.inf
    mass = torch.where(kept, probabilities, 0.0).sum(1)
    least = torch.where(kept, probabilities, 2.0).amin(1)
    assert (mass >= p - 1e-12).all()
    assert ((mass - least < p) | (kept.sum(1) == 1)).all()
    torch.testing.assert_close(F.softmax(top_p_filter(logits, p=1.0), -1), probabilities)


def test_classes_without_rows_take_no_share_and_no_gradient() -> None:
    logits, counts = draw(6, 5).requires_grad_(), torch.tensor([3.0, 0.0, 1.0, 0.0, 7.0])
    kept = counts > 0
    found = restrict_classes(logits, counts)
    assert torch.equal(found[:, kept], logits[:, kept])
    torch.testing.assert_close(found.softmax(1)[:, kept], logits[:, kept].softmax(1))
    assert (found.softmax(1)[:, ~kept] == 0).all()
    assert torch.equal(restrict_classes(logits, kept), found)
    loss = F.kl_div(
        found.log_softmax(1),
        restrict_classes(draw(6, 5, seed=1), counts).log_softmax(1),
        reduction="sum",
        log_target=True,
    )
    loss.backward()
    assert loss.isfinite()
    assert (logits.grad[:, ~kept] == 0).all()
    assert (logits.grad[:, kept] != 0).all()
    nothing = restrict_classes(logits, torch.zeros(5))
    torch.testing.assert_close(nothing.softmax(1), torch.full((6, 5), 0.2, dtype=torch.float64))
    with pytest.raises(ValueError, match="5 classes need as many counts"):
        restrict_classes(logits, counts[:4])


def test_suppressed_logits_lower_only_what_training_raised() -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randn(50, 7, generator=generator) for _ in range(2))
    assert torch.equal(suppressed_logits(before, before), before)
    assert torch.equal(suppressed_logits(before, after, strength=0.0), before)
    found = suppressed_logits(before, after, strength=3.0)
    assert torch.equal(found[after <= before], before[after <= before])
    torch.testing.assert_close(found[after > before], (4 * before - 3 * after)[after > before])
    with pytest.raises(ValueError, match="logits and reinforced"):
        suppressed_logits(before, after[:, 1:])


def test_a_row_is_told_among_its_own_classes_alone() -> None:
    logits = draw(3, 5).requires_grad_()
    first, count = torch.tensor([0, 2, 1]), torch.tensor([2, 3, 1])
    kept = restrict_to_range(logits, first, count)
    probabilities = kept.softmax(1)
    for row, own in enumerate(([0, 1], [2, 3, 4], [1])):
        assert torch.allclose(probabilities[row, own], logits[row, own].softmax(0))
    F.cross_entropy(kept, torch.tensor([1, 4, 1])).backward()
    assert torch.equal(logits.grad != 0, torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]]).bool())
