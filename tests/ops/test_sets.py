"""Matching and losses of sets, and associations inside them, against closed forms and limits."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from kdrun.ops.sets import (
    association_probability,
    elements_at,
    set_matching,
    set_prediction_loss,
    supervised_contrastive_association,
)


def test_matching_is_the_cheapest_of_all() -> None:
    cost = torch.rand(3, 2, 5, 3, generator=torch.Generator().manual_seed(0))
    found = set_matching(cost, torch.ones(3, 2, 3, dtype=torch.bool))
    for scene, layer in itertools.product(range(3), range(2)):
        table = cost[scene, layer]
        best = min(itertools.permutations(range(5), 3), key=lambda p: sum(float(table[q, t]) for t, q in enumerate(p)))
        assert found[scene, layer].tolist() == list(best)


def test_targets_that_are_not_there_and_too_many_have_no_partner() -> None:
    cost = torch.tensor([[[0.0, 1.0, 5.0], [1.0, 0.0, 5.0]]])
    assert set_matching(cost, torch.tensor([[True, False, False]])).tolist() == [[0, -1, -1]]
    assert set_matching(cost, torch.ones(1, 3, dtype=torch.bool)).tolist() == [[0, 1, -1]]
    assert set_matching(torch.full((1, 2, 1), math.nan), torch.ones(1, 1, dtype=torch.bool)).min() >= 0


def test_matching_is_planned_and_compiled_as_a_whole() -> None:
    """Shapes are found without costs, and a compiled step gives what a plain one gives, value and gradient."""
    with FakeTensorMode():
        found = set_matching(torch.empty(2, 3, 5, 4), torch.ones(2, 3, 4, dtype=torch.bool))
        assert (found.shape, found.dtype) == ((2, 3, 4), torch.int64)

    def loss(states: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return torch.stack(list(set_prediction_loss(states, *rest, mean_targets=2.0).values())).sum()

    states, *rest = scene()
    gradients = []
    for function in (loss, torch.compile(loss, backend="eager", fullgraph=True)):
        start = states.clone().requires_grad_()
        function(start, *rest).backward()
        gradients.append(start.grad)
    assert torch.equal(*gradients)
    assert gradients[0].any()


def scene(count: int = 4) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(count, 2, 6, 2, generator=generator, dtype=torch.float32)
    existence = torch.randn(count, 2, 6, generator=generator)
    targets = torch.randn(count, 3, 2, generator=generator)
    return states, existence, targets, torch.tensor([[True, True, False]] * count)


def test_set_loss_in_closed_form() -> None:
    states = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])
    targets, there = torch.tensor([[[3.0, 5.0]]]), torch.ones(1, 1, dtype=torch.bool)
    found = set_prediction_loss(states, torch.zeros(1, 2), targets, there, mean_targets=0.5)
    assert found["state"].item() == pytest.approx(0.5)  # |0| + |1| over two coordinates
    assert found["existence"].item() == pytest.approx((3 + 1) * math.log(2) / 2)  # (2 - 0.5)/0.5 = 3 at the matched one


def test_probability_decides_between_equal_distances() -> None:
    states, targets = torch.zeros(1, 2, 2), torch.zeros(1, 1, 2)
    logits = torch.tensor([[-1.0, 1.0]], requires_grad=True)
    set_prediction_loss(states, logits, targets, torch.ones(1, 1, dtype=torch.bool), mean_targets=1.0)[
        "existence"
    ].backward()
    assert logits.grad[0, 1] < 0 < logits.grad[0, 0]


def test_set_loss_ignores_the_order_of_both_sets_and_what_fills_up() -> None:
    states, existence, targets, there = scene()
    first = set_prediction_loss(states, existence, targets, there, mean_targets=2.0)
    turned = set_prediction_loss(
        states.flip(2),
        existence.flip(2),
        torch.where(there[..., None], targets, 99.0).flip(1),
        there.flip(1),
        mean_targets=2.0,
    )
    for name in ("existence", "state"):
        assert torch.allclose(first[name], turned[name])


def test_layers_add_up_and_scenes_are_pooled() -> None:
    states, existence, targets, there = scene()
    whole = set_prediction_loss(states, existence, targets, there, mean_targets=2.0)
    layers = [set_prediction_loss(states[:, i], existence[:, i], targets, there, mean_targets=2.0) for i in range(2)]
    for name in ("existence", "state"):
        assert torch.allclose(whole[name], layers[0][name] + layers[1][name])
    there = torch.tensor([[True, True, True], [True, False, False]])
    pooled = set_prediction_loss(states[:2, 0], existence[:2, 0], targets[:2], there, mean_targets=2.0)["state"]
    apart = [
        set_prediction_loss(
            states[i : i + 1, 0], existence[i : i + 1, 0], targets[i : i + 1], there[i : i + 1], mean_targets=2.0
        )["state"]
        for i in range(2)
    ]
    assert torch.allclose(pooled, (3 * apart[0] + apart[1]) / 4)


def test_set_loss_moves_matched_states_alone() -> None:
    states, existence, targets, there = scene(1)
    states = states[:, 0].clone().requires_grad_()
    set_prediction_loss(states, existence[:, 0], targets, there, mean_targets=2.0)["state"].backward()
    moved = states.grad.abs().sum(-1) > 0
    assert moved.sum() == 2
    assert set_prediction_loss(states, existence[:, 0], targets, ~there & False, mean_targets=2.0)["state"] == 0


def test_association_in_closed_form() -> None:
    embeds = torch.tensor([[[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [9.0, 9.0]]], requires_grad=True)
    ids = torch.tensor([[4, 4, 7, -2]])
    expected = math.log(math.e + 1) - 1  # cosines 1 and 0; the third has no partner, the fourth fills up
    assert supervised_contrastive_association(embeds, ids).item() == pytest.approx(expected)
    assert association_probability(embeds, ids).item() == pytest.approx(math.exp(-expected))
    supervised_contrastive_association(embeds, ids).backward()
    assert embeds.grad[0, 3].abs().sum() == 0
    assert embeds.grad.isfinite().all()


def test_clutter_is_one_class_and_no_pair_is_no_loss() -> None:
    embeds = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    alone = supervised_contrastive_association(embeds, torch.tensor([[0, 1, 2]]))
    assert alone == 0
    clutter = supervised_contrastive_association(embeds, torch.tensor([[-1, -1, -1]]))
    one = supervised_contrastive_association(embeds, torch.tensor([[5, 5, 5]]))
    assert torch.allclose(clutter, one)
    assert clutter >= math.log(2) - 1e-6  # two partners, uniformly


def test_association_pools_rows_of_all_scenes() -> None:
    generator = torch.Generator().manual_seed(2)
    embeds, ids = torch.randn(2, 5, 4, generator=generator), torch.tensor([[0, 0, 1, 1, -2], [3, 3, 0, 1, 2]])
    both = supervised_contrastive_association(embeds, ids)
    apart = [supervised_contrastive_association(embeds[i : i + 1], ids[i : i + 1]) for i in range(2)]
    assert torch.allclose(both, (4 * apart[0] + 2 * apart[1]) / 6)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(supervised_contrastive_association(embeds[:, order], ids[:, order]), both)


def test_association_agrees_with_cross_entropy_for_single_partners() -> None:
    embeds = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(3))
    unit = F.normalize(embeds[0], dim=1)
    scores = (unit @ unit.T).fill_diagonal_(-math.inf)
    expected = F.cross_entropy(scores, torch.tensor([1, 0, 3, 2]))
    assert torch.allclose(supervised_contrastive_association(embeds, torch.tensor([[0, 0, 1, 1]])), expected)


def test_elements_of_one_time() -> None:
    rows = torch.tensor([[[1.0, 2.0, 0.0], [3.0, 4.0, 1.0], [5.0, 6.0, 1.0], [0.0, 0.0, -1.0]]])
    assert elements_at(rows, time=1)[0].tolist() == [[1, 2, 0], [3, 4, 1], [5, 6, 1], [0, 0, 0]]
    assert elements_at(rows, torch.tensor([[0, -1, 2, -2]]), time=1)[0, :, 2].tolist() == [0, 0, 1, 0]
