"""Optimal transport between weighted point sets: values, duals, and costs that know of classes."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.ops.checks import require_rows
from kdrun.registry import op, shape_of
from kdrun.types import Count, NonNegative

__all__ = [
    "class_aware_cost",
    "dual_source_gradient",
    "gaussian_wasserstein",
    "optimal_transport",
    "sinkhorn_divergence",
]

MAX_PIVOTS = 1_000_000
SINKHORN_ROUNDS = 2000


@op(extra="transport", requires=("POT",))
def optimal_transport(
    cost: Tensor, first: Tensor | None = None, second: Tensor | None = None, *, epsilon: NonNegative = 0.0
) -> dict[str, Tensor]:
    """Transport of the weights ``first`` [n] to ``second`` [k] at the least ``cost`` [n, k] (Kantorovich, 1942).

    Weights are not negative, each sums to 1 and is uniform by default. ``epsilon`` 0 is exact (network simplex); above
    0 it adds ``epsilon·KL(plan ‖ first⊗second)``, solved by Sinkhorn's iterations in the log domain (Cuturi, 2013).

    Fields: ``value``, ``plan`` [n, k], and the dual potentials ``f`` [n] and ``g`` [k], unique up to a constant that
    moves between them; ``value = f·first + g·second``. Of a point without weight, the potential is what weight there
    would cost: the highest that ``f + g <= cost`` allows. The value is differentiable in the cost (the plan) and in the
    weights (the duals). Raises ``InputError`` without the package POT, ``ValueError`` for other shapes.

    >>> found = ops.optimal_transport(torch.tensor([[0.0, 4.0], [4.0, 2.0]]))
    >>> found["value"], found["plan"]
    (tensor(1.), tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]]))
    >>> ops.optimal_transport(torch.tensor([[0.0, 4.0], [4.0, 2.0]]), second=torch.tensor([1.0, 0.0]))["value"]
    tensor(2.)
    """
    if cost.dim() != 2:
        raise ValueError(f"a cost is a matrix [n, k], got {list(cost.shape)}")
    a = _weights(first, cost.shape[0], cost)
    b = _weights(second, cost.shape[1], cost)
    plan, f, g = _solve(cost.detach().double().cpu(), a.detach().double().cpu(), b.detach().double().cpu(), epsilon)
    plan, f, g = (v.to(device=cost.device, dtype=cost.dtype) for v in (plan, f, g))
    least = (f * a).sum() + (g * b).sum()
    value = least + (plan * (cost - cost.detach())).sum()  # the envelope theorem: only what is given moves
    return {"value": value, "plan": plan, "f": f, "g": g}


def _weights(given: Tensor | None, count: int, like: Tensor) -> Tensor:
    if given is None:
        return torch.full((count,), 1.0 / count, dtype=like.dtype, device=like.device)
    if given.shape != (count,):
        raise ValueError(f"{count} points need as many weights, got {list(given.shape)}")
    return given.to(like)


@torch.library.custom_op("kdrun::optimal_transport", mutates_args=())
def _solve(
    cost: torch.Tensor, a: torch.Tensor, b: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Plan and duals of float64 tensors on the CPU; planning and ``torch.compile`` know their shapes alone."""
    try:
        import ot
    except ImportError:
        raise InputError("optimal transport needs an extra: pip install 'kdrun[transport]'") from None
    a, b = a / a.sum(), b / b.sum()
    if not epsilon:
        plan, log = ot.emd(a.numpy(), b.numpy(), cost.numpy(), numItermax=MAX_PIVOTS, log=True)
        return torch.from_numpy(plan), *_priced(cost, a, b, torch.from_numpy(log["u"]), torch.from_numpy(log["v"]))
    tiny = torch.finfo(a.dtype).tiny  # a point without weight keeps a finite potential
    plan, log = ot.sinkhorn(
        a.clamp_min(tiny),
        b.clamp_min(tiny),
        cost,
        epsilon,
        method="sinkhorn_log",
        numItermax=SINKHORN_ROUNDS,
        stopThr=1e-10,
        log=True,
        warn=False,
    )
    f = epsilon * (log["log_u"] - a.clamp_min(tiny).log())
    g = epsilon * (log["log_v"] - b.clamp_min(tiny).log())
    return plan, f, g


def _priced(cost: Tensor, a: Tensor, b: Tensor, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Duals with the highest feasible potential where a point has no weight, which the solver leaves open."""
    f = torch.where(a > 0, f, (cost - g)[:, b > 0].amin(1))
    g = torch.where(b > 0, g, (cost - f[:, None]).amin(0))
    return f, g


@_solve.register_fake
def _(cost: Tensor, a: Tensor, b: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(cost), torch.empty_like(a), torch.empty_like(b)


@op(extra="transport", requires=("POT",))
def sinkhorn_divergence(
    cost: Tensor,
    first_cost: Tensor,
    second_cost: Tensor,
    first: Tensor | None = None,
    second: Tensor | None = None,
    *,
    epsilon: NonNegative = 0.01,
) -> dict[str, Tensor]:
    """Entropic transport without its bias: ``OT(a, b) - OT(a, a)/2 - OT(b, b)/2`` (Feydy et al., 2019).

    ``cost`` [n, k] between the sets, ``first_cost`` [n, n] and ``second_cost`` [k, k] within them; weights ``first``
    [n] and ``second`` [k] as in ``optimal_transport``. 0 for equal sets. Fields: ``value``, and the potentials ``f``
    [n], ``g`` [k] that are its derivatives in the weights. Raises ``InputError`` without the package POT.

    >>> first, second = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    >>> costs = [torch.cdist(a, b).square() for a, b in ((first, second), (first, first), (second, second))]
    >>> ops.sinkhorn_divergence(*costs, epsilon=0.1)["value"]  # moved by 2: near 2²
    tensor(4.0000)
    """
    across = optimal_transport(cost, first, second, epsilon=epsilon)
    within = optimal_transport(first_cost, first, first, epsilon=epsilon)
    other = optimal_transport(second_cost, second, second, epsilon=epsilon)
    return {
        "value": across["value"] - within["value"] / 2 - other["value"] / 2,
        "f": across["f"] - (within["f"] + within["g"]) / 2,
        "g": across["g"] - (other["f"] + other["g"]) / 2,
    }


@op
def gaussian_wasserstein(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of normal laws (Dowson & Landau, 1982): [...].

    ``‖μ - μ'‖² + tr(Σ + Σ' - 2(Σ^½ Σ' Σ^½)^½)``, with means [..., d] and covariances [..., d, d].

    >>> zero, unit = torch.zeros(2), torch.eye(2)
    >>> ops.gaussian_wasserstein(zero, unit, torch.tensor([3.0, 0.0]), unit)  # moved
    tensor(9.)
    >>> ops.gaussian_wasserstein(zero, unit, zero, 4 * unit)  # two deviations grow from 1 to 2
    tensor(2.)
    """
    root = _square_root(covariance)
    inner = root @ other_covariance @ root
    cross = torch.linalg.eigvalsh((inner + inner.mT) / 2).clamp_min(0).sqrt().sum(-1)
    traces = covariance.diagonal(dim1=-2, dim2=-1).sum(-1) + other_covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (mean - other_mean).square().sum(-1) + (traces - 2 * cross).clamp_min(0)


def _square_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt().unsqueeze(-2)) @ vectors.mT


@op(extra="transport", requires=("POT",))
def class_aware_cost(
    features: Tensor,
    labels: Tensor,
    other_features: Tensor,
    other_labels: Tensor,
    *,
    feature_weight: NonNegative = 1.0,
    label_weight: NonNegative = 1.0,
    label_distance: Literal["means", "gaussian", "exact"] = "gaussian",
) -> Tensor:
    """Cost between labelled points (Alvarez-Melis & Fusi, 2020): ``w_x·‖x - x'‖² + w_y·W²(y, y')``, [n, k].

    ``features`` [n, d] and [k, d], ``labels`` [n] and [k] (int64). W² is the squared Wasserstein distance between the
    features of class y in the first set and of class y' in the second: of class means alone, of normal laws, or exact
    (which needs the package POT). Raises ``ValueError`` for other than rows.

    >>> features, labels = torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1])
    >>> ops.class_aware_cost(features, labels, features, labels, label_distance="means")
    tensor([[ 0., 32.],
            [32.,  0.]])
    """
    require_rows(features, other_features)
    squared = torch.cdist(features, other_features, compute_mode="donot_use_mm_for_euclid_dist").square()
    if not label_weight:
        return feature_weight * squared
    own, own_rows = torch.unique(labels, return_inverse=True)
    other, other_rows = torch.unique(other_labels, return_inverse=True)
    firsts = [features[labels == c] for c in own]
    seconds = [other_features[other_labels == c] for c in other]
    between = torch.stack([torch.stack([_class_distance(x, y, label_distance) for y in seconds]) for x in firsts])
    return feature_weight * squared + label_weight * between[own_rows][:, other_rows]


@shape_of("op", "class_aware_cost")
def _cost_of_points(
    features: Tensor, labels: Tensor, other_features: Tensor, other_labels: Tensor, **options: Any
) -> Tensor:
    require_rows(features, other_features)
    return torch.cdist(features, other_features, compute_mode="donot_use_mm_for_euclid_dist").square()


def _class_distance(first: Tensor, second: Tensor, kind: str) -> Tensor:
    if kind == "exact":
        return optimal_transport(torch.cdist(first, second).square())["value"]
    distance = (first.mean(0) - second.mean(0)).square().sum()
    if kind == "means":
        return distance
    return gaussian_wasserstein(first.mean(0), _covariance(first), second.mean(0), _covariance(second))


def _covariance(rows: Tensor) -> Tensor:
    """[d, d] of [n, d], divided by n: 0 for a single row."""
    centred = rows - rows.mean(0)
    return centred.mT @ centred / len(rows)


@op
def dual_source_gradient(potential: Tensor, source: Tensor, *, sources: Count) -> Tensor:
    """How a transport distance moves with each source's share of a uniform sample: [sources] (Just et al., 2023).

    ``potential`` [n] are the duals of the sample and ``source`` [n] (int64) the source of each point. A source's share
    grows at the cost of all others in proportion: the mean potential of its points less that of all others. 0 for a
    source without points, or alone. A constant added to the potential changes nothing.

    >>> ops.dual_source_gradient(torch.tensor([1.0, 1.0, 4.0]), torch.tensor([0, 0, 1]), sources=3)
    tensor([-3.,  3.,  0.])
    """
    sums = potential.new_zeros(sources).index_add_(0, source, potential)
    counts = potential.new_zeros(sources).index_add_(0, source, torch.ones_like(potential))
    rest = len(potential) - counts
    gradient = sums / counts.clamp_min(1) - (sums.sum() - sums) / rest.clamp_min(1)
    return torch.where((counts > 0) & (rest > 0), gradient, torch.zeros_like(gradient))
