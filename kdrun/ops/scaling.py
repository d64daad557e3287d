"""Performance as a function of data size and mixture: forms, their derivatives, and extrapolation in size."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.ops.checks import require_same_shape
from kdrun.registry import op
from kdrun.types import Positive

__all__ = ["log_scale_projection", "mixture_terms", "power_law_projection", "pseudo_quadratic_gradient"]


@op
def log_scale_projection(
    first: Tensor, second: Tensor, *, size: Positive, first_size: Positive, second_size: Positive
) -> Tensor:
    """The line in ``log size`` through values at two sizes, read at ``size`` (Kang et al., 2023); one shape.

    ``[log(n/n0)·second - log(n/n1)·first] / log(n1/n0)`` with n ``size``, n0 ``first_size`` and n1 ``second_size``.
    Raises ``InputError`` for equal sizes, ``ValueError`` if shapes differ.

    >>> first, second = torch.tensor([0.5]), torch.tensor([0.6])  # at 100 and at 1000 rows
    >>> ops.log_scale_projection(first, second, size=10000, first_size=100, second_size=1000)
    tensor([0.7000])
    """
    require_same_shape(first, second, "values at two sizes")
    to_first, to_second = _weights(size, first_size, second_size)
    return to_first * first + to_second * second


def _weights(size: float, first_size: float, second_size: float) -> tuple[float, float]:
    if first_size == second_size:
        raise InputError(f"a projection needs two sizes, got {first_size} twice")
    span = math.log(second_size / first_size)
    return -math.log(size / second_size) / span, math.log(size / first_size) / span


@op
def power_law_projection(
    first: Tensor,
    second: Tensor,
    *,
    size: Positive,
    first_size: Positive,
    second_size: Positive,
    floor: Positive = 1e-3,
) -> Tensor:
    """Accuracy whose error falls as a power of the size (Hestness et al., 2017), through two points: one shape.

    ``1 - error`` with ``log error`` linear in ``log size``; an error below ``floor`` counts as that. ``first`` and
    ``second`` are accuracies at ``first_size`` and ``second_size``. Raises ``InputError`` for equal sizes.

    >>> first, second = torch.tensor([0.6]), torch.tensor([0.8])  # the error halves with ten times the rows
    >>> ops.power_law_projection(first, second, size=10000, first_size=100, second_size=1000)
    tensor([0.9000])
    """
    errors = [(1 - value).clamp_min(floor).log() for value in (first, second)]
    logs = log_scale_projection(*errors, size=size, first_size=first_size, second_size=second_size)
    return 1 - logs.exp()


@op
def mixture_terms(
    proportions: Tensor,
    distance: Tensor,
    *,
    form: Literal["reduced", "general", "linear", "quadratic", "distance"] = "reduced",
) -> Tensor:
    """The regressors of performance on a mixture's proportions and distance: [cells, terms]; the constant 1 is last.

    ``proportions`` p [cells, m] and ``distance`` d [cells]. ``reduced`` (the last source is what the others leave): d,
    p_1 … p_(m-1), p_i·d, p_(m-1)²·d … p_1²·d. ``general``: m·d (each source's bracket has the constant), p_i·d, p_i²·d,
    p_i, p_i² of all sources; its terms are dependent. ``linear`` and ``quadratic`` are in the proportions alone,
    ``distance`` in the distance alone (Kang et al., 2023). Raises ``ValueError`` for other shapes.

    >>> ops.mixture_terms(torch.tensor([[0.2, 0.8]]), torch.tensor([10.0]))  # d, p, p·d, p²·d, 1
    tensor([[10.0000,  0.2000,  2.0000,  0.4000,  1.0000]])
    >>> ops.mixture_terms(torch.tensor([[0.2, 0.8]]), torch.tensor([10.0]), form="quadratic")  # p, p², 1
    tensor([[0.2000, 0.0400, 1.0000]])
    """
    if proportions.dim() != 2 or distance.shape != proportions.shape[:1]:
        raise ValueError(
            f"a cell has proportions [cells, m] and a distance [cells], got {list(proportions.shape)} and "
            f"{list(distance.shape)}"
        )
    d = distance[:, None]
    free, one = proportions[:, :-1], torch.ones_like(d)
    terms = {
        "reduced": lambda: [d, free, free * d, (free.square() * d).flip(1)],
        "general": lambda: [
            proportions.shape[1] * d,
            proportions * d,
            proportions.square() * d,
            proportions,
            proportions.square(),
        ],
        "linear": lambda: [free],
        "quadratic": lambda: [free, _products(free)],
        "distance": lambda: [d],
    }
    return torch.cat([*terms[form](), one], dim=1)


def _products(values: Tensor) -> Tensor:
    """Products of all pairs of columns, squares included."""
    i, j = torch.triu_indices(values.shape[1], values.shape[1], device=values.device)
    return values[:, i] * values[:, j]


@op
def pseudo_quadratic_gradient(
    coefficients: Tensor,
    proportions: Tensor,
    distance: Tensor,
    distance_gradient: Tensor,
    *,
    form: Literal["reduced", "general"] = "reduced",
) -> Tensor:
    """Slope of fitted performance in each source's share: [m] (Kang et al., 2023).

    ``(b₂p_i² + b₁p_i + b₀)·∂distance/∂p_i + (2b₂p_i + b₁)·distance + 2c₂p_i + c₁`` with the coefficients of source i
    alone; ``coefficients`` [terms] are those of ``mixture_terms``, ``proportions`` and ``distance_gradient`` [m],
    ``distance`` a scalar. b₀ is shared; in the reduced form the last source has no others.

    >>> coefficients = torch.tensor([0.0, 3.0, 0.0, 0.0, 0.5])  # performance 3 p + 0.5
    >>> ops.pseudo_quadratic_gradient(coefficients, torch.tensor([0.2, 0.8]), torch.tensor(1.0), torch.zeros(2))
    tensor([3., 0.])
    """
    b0, b1, b2, c1, c2 = _by_source(coefficients, len(proportions), form)
    p = proportions
    return (b2 * p.square() + b1 * p + b0) * distance_gradient + (2 * b2 * p + b1) * distance + 2 * c2 * p + c1


def _by_source(coefficients: Tensor, m: int, form: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """b₀ and, by source [m], b₁, b₂, c₁ and c₂."""
    zero = coefficients.new_zeros(1)
    if form == "general":
        b1, b2, c1, c2 = coefficients[1 : 4 * m + 1].view(4, m)
        return coefficients[0], b1, b2, c1, c2
    c1, b1, b2 = coefficients[1 : 3 * m - 2].view(3, m - 1)
    c1, b1, b2 = (torch.cat([value, zero]) for value in (c1, b1, b2.flip(0)))
    return coefficients[0], b1, b2, c1, torch.zeros_like(c1)
