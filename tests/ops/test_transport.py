"""Transport: closed forms, duals as derivatives, and a divergence that is 0 for equal sets."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck

from kdrun.ops.transport import (
    class_aware_cost,
    dual_source_gradient,
    gaussian_wasserstein,
    optimal_transport,
    sinkhorn_divergence,
)

pytest.importorskip("ot")


def points(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_transport_on_a_line_pairs_sorted_points() -> None:
    x, y = points(9), points(9, seed=1)
    found = optimal_transport((x[:, None] - y).square())
    assert torch.isclose(found["value"], (x.sort().values - y.sort().values).square().mean())
    assert torch.allclose(found["plan"].sum(0), torch.full((9,), 1 / 9, dtype=torch.float64))


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_duals_support_the_plan_and_sum_to_the_value(epsilon: float) -> None:
    cost = points(5, 7).square()
    a, b = points(5, seed=1).softmax(0), points(7, seed=2).softmax(0)
    found = optimal_transport(cost, a, b, epsilon=epsilon)
    slack = cost - found["f"][:, None] - found["g"]
    if epsilon:
        assert torch.allclose(found["plan"], a[:, None] * b * torch.exp(-slack / epsilon), atol=1e-8)
        entropy = (found["plan"] * (found["plan"] / (a[:, None] * b)).log()).sum()
        assert torch.isclose(found["value"], (found["plan"] * cost).sum() + epsilon * entropy, atol=1e-6)
    else:
        assert slack.min() > -1e-9
        assert slack[found["plan"] > 1e-9].abs().max() < 1e-9
        assert torch.isclose(found["value"], (found["plan"] * cost).sum())


def test_a_point_without_weight_has_the_potential_of_weight_there() -> None:
    cost = torch.tensor([[2.0], [5.0]], dtype=torch.float64)
    found = optimal_transport(cost, torch.tensor([1.0, 0.0]))
    assert (found["f"] + found["g"]).tolist() == [2.0, 5.0]
    cost = points(5, 7).square()
    for gone, other in (([1, 3], []), ([], [0, 6]), ([1, 3], [0, 6])):
        a, b = points(5, seed=1).softmax(0), points(7, seed=2).softmax(0)
        a[gone], b[other] = 0, 0
        a, b = a / a.sum(), b / b.sum()
        found = optimal_transport(cost, a, b)
        slack = cost - found["f"][:, None] - found["g"]
        assert slack.min() > -1e-9
        assert slack.amin(1).max() < 1e-9
        assert slack.amin(0).max() < 1e-9
        assert torch.isclose(found["f"] @ a + found["g"] @ b, (found["plan"] * cost).sum())


def test_the_potential_without_weight_is_the_slope_of_the_value() -> None:
    cost = points(4, 3).square()
    a, b = torch.tensor([0.2, 0.5, 0.3, 0.0], dtype=torch.float64), points(3, seed=2).softmax(0)
    found = optimal_transport(cost, a, b)
    moved = a + 1e-6 * torch.tensor([0.0, -1.0, 0.0, 1.0], dtype=torch.float64)
    slope = (optimal_transport(cost, moved, b)["value"] - found["value"]) / 1e-6
    assert torch.isclose(slope, found["f"][3] - found["f"][1], atol=1e-6)


def test_a_small_regularisation_is_nearly_exact_and_a_large_one_forgets_the_cost() -> None:
    cost = points(4, 6).square()
    exact = optimal_transport(cost)["value"]
    assert torch.isclose(optimal_transport(cost, epsilon=0.01)["value"], exact, atol=0.05)
    plan = optimal_transport(cost, epsilon=1e4)["plan"]
    assert torch.allclose(plan, torch.full_like(plan, 1 / 24), atol=1e-4)


def test_the_value_is_differentiable_in_cost_and_weights() -> None:
    cost = points(3, 4).square().requires_grad_()
    logits = points(3, seed=3).requires_grad_()
    assert gradcheck(lambda c: optimal_transport(c)["value"], cost)
    assert gradcheck(lambda w: optimal_transport(cost.detach(), w.softmax(0), epsilon=0.5)["value"], logits, atol=1e-5)


def test_the_divergence_of_equal_sets_is_zero_where_plain_entropic_transport_is_not() -> None:
    x = points(6, 2)
    cost = torch.cdist(x, x).square()
    assert optimal_transport(cost, epsilon=1.0)["value"] > 0.1
    assert abs(float(sinkhorn_divergence(cost, cost, cost, epsilon=1.0)["value"])) < 1e-8
    y = x + 3
    other = sinkhorn_divergence(torch.cdist(x, y).square(), cost, cost, epsilon=1.0)
    assert torch.isclose(other["value"], torch.tensor(18.0, dtype=torch.float64), atol=1e-6)  # a shift by (3, 3)


def test_gaussian_distance_in_one_dimension_and_for_commuting_covariances() -> None:
    mean, other = torch.tensor([1.0]), torch.tensor([4.0])
    value = gaussian_wasserstein(mean, torch.tensor([[4.0]]), other, torch.tensor([[9.0]]))
    assert torch.isclose(value, torch.tensor(9.0 + (2 - 3) ** 2))
    turn, _ = torch.linalg.qr(points(3, 3))
    first, second = (turn @ torch.diag(torch.tensor(v).double()) @ turn.T for v in ([1.0, 4, 9], [4.0, 4, 0]))
    zero = torch.zeros(3, dtype=torch.float64)
    assert torch.isclose(gaussian_wasserstein(zero, first, zero, second), torch.tensor(1.0 + 0 + 9).double())


def test_class_aware_cost_adds_what_parts_the_classes() -> None:
    x = torch.tensor([[0.0, 0], [2, 0], [5, 0], [5, 2]])
    label = torch.tensor([7, 7, 3, 3])
    plain = class_aware_cost(x, label, x, label, label_weight=0.0)
    assert torch.allclose(plain, torch.cdist(x, x).square())
    means = class_aware_cost(x, label, x, label, label_distance="means", feature_weight=0.0)
    assert torch.allclose(means[0], torch.tensor([0.0, 0, 17, 17]))
    for kind in ("gaussian", "exact"):
        between = class_aware_cost(x, label, x, label, label_distance=kind, feature_weight=0.0)
        assert between[0, 1] < 1e-4
        assert between[0, 2] > 17  # the spread is along another axis: more than the means say
    moved = class_aware_cost(x, label, x + 3, label, label_distance="exact", feature_weight=0.0)
    assert torch.allclose(moved.diagonal(), torch.full((4,), 18.0))


def test_the_dual_gradient_is_the_derivative_in_a_sources_share() -> None:
    source = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2])
    x, y = points(8, 2) + source[:, None], points(6, 2, seed=1) + 1
    cost = torch.cdist(x, y).square()

    def value(weights: torch.Tensor) -> torch.Tensor:
        return optimal_transport(cost, weights, epsilon=0.2)["value"]

    even = torch.full((8,), 1 / 8, dtype=torch.float64)
    gradient = dual_source_gradient(optimal_transport(cost, even, epsilon=0.2)["f"], source, sources=4)
    for i in range(3):
        own = (source == i).double()
        direction = own / own.sum() - (1 - own) / (1 - own).sum()
        slope = (value(even + 1e-4 * direction) - value(even - 1e-4 * direction)) / 2e-4
        assert torch.isclose(gradient[i], slope, rtol=1e-3, atol=1e-4)
    assert gradient[3] == 0  # no points


def test_the_dual_gradient_forgets_constants_and_lone_sources() -> None:
    f, source = points(5), torch.tensor([0, 1, 1, 0, 1])
    assert torch.allclose(
        dual_source_gradient(f, source, sources=2), dual_source_gradient(f + 7, source, sources=2), atol=1e-12
    )
    assert dual_source_gradient(f, torch.zeros(5, dtype=torch.int64), sources=2).tolist() == [0, 0]


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_transport_is_planned_and_compiled_as_a_whole(epsilon: float) -> None:
    """Shapes are found without costs, and a compiled step gives what a plain one gives, value and gradient."""
    with FakeTensorMode():
        found = optimal_transport(torch.empty(4, 6), epsilon=epsilon)
        assert [tuple(found[name].shape) for name in ("value", "plan", "f", "g")] == [(), (4, 6), (4,), (6,)]

    def value(cost: torch.Tensor) -> torch.Tensor:
        return optimal_transport(cost, epsilon=epsilon)["value"]

    gradients = []
    for function in (value, torch.compile(value, backend="eager", fullgraph=True)):
        cost = points(4, 6).square().requires_grad_()
        function(cost).backward()
        gradients.append(cost.grad)
    assert torch.equal(*gradients)
