"""Arithmetic of logits: shifts by the difference of two models, weights found by divergence, filters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_same_shape
from kdrun.registry import op
from kdrun.types import Count, Fraction, NonNegative, Positive

__all__ = [
    "joint_logits",
    "kl_matched_weight",
    "kl_matched_weights",
    "logit_shift",
    "restrict_classes",
    "restrict_to_range",
    "shift_divergence",
    "suppressed_logits",
    "top_k_filter",
    "top_p_filter",
]


@op
def logit_shift(large: Tensor, experts: Tensor, small: Tensor, weights: Tensor) -> Tensor:
    """``large + Σ_t weights_t (experts_t - small)``: what tuning did to small models, added to a large one.

    ``large`` and ``small`` [..., classes], ``experts`` [experts, ..., classes], ``weights`` [..., experts]; all over
    one vocabulary, and all logits or all log-probabilities. Weight 1 is proxy tuning (Liu et al., 2024); with an expert
    and an anti-expert as ``small`` it is contrastive decoding (DExperts: Liu et al., 2021). Raises ``ValueError`` if
    shapes differ.

    >>> large, small, expert = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0]), torch.tensor([2.0, 1.0])
    >>> ops.logit_shift(large, expert[None], small, torch.tensor([1.0]))
    tensor([3., 1.])
    """
    require_same_shape(large, small, "large and small")
    for expert in experts:
        require_same_shape(large, expert, "large and each expert")
    return large + _combined(weights, experts - small)


def _combined(weights: Tensor, directions: Tensor) -> Tensor:
    """``Σ_t weights[..., t] · directions[t]``, as products and sums, which mixed precision leaves alone."""
    return (weights.movedim(-1, 0)[..., None].to(directions.dtype) * directions).sum(0)


def shift_divergence(base: Tensor, direction: Tensor, weight: Tensor) -> Tensor:
    """KL(softmax(base + weight · direction) ‖ softmax(base)) in nats: [...] of [..., classes] and ``weight`` [...].

    0 at weight 0, and it does not fall as the weight's size grows: its derivative is the weight times the variance of
    ``direction`` under the shifted distribution.
    """
    return _kl(base + weight[..., None] * direction, base)


def _kl(first: Tensor, second: Tensor) -> Tensor:
    log_p, log_q = F.log_softmax(first, dim=-1), F.log_softmax(second, dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).clamp_min(0.0)


@op
def kl_matched_weight(
    large: Tensor,
    expert: Tensor,
    small: Tensor,
    *,
    largest: Positive = 2.0,
    method: Literal["bisection", "grid"] = "bisection",
    tolerance: Positive = 1e-6,
    spacing: Positive = 0.1,
) -> Tensor:
    """The weight in [0, largest] at which the shifted large model has moved as far as the expert has: [...].

    It minimises the square of ``KL(P_w ‖ P) - KL(Q_expert ‖ Q_small)`` (Fan et al., 2024), with ``P`` the softmax of
    ``large`` and ``P_w`` that of ``large + w (expert - small)``; all logits [..., classes], one weight a row.
    ``bisection`` finds the root to within ``tolerance``, or gives ``largest`` if it lies beyond; ``grid`` takes the
    best multiple of ``spacing``. Raises ``ValueError`` if shapes differ.

    >>> small, expert = torch.tensor([0.0, 1.0]), torch.tensor([2.0, 1.0])
    >>> ops.kl_matched_weight(small, expert, small)  # a large model that is the small one moves alike
    tensor(1.0000)
    >>> ops.kl_matched_weight(small, small, small)  # an expert that has not moved
    tensor(0.)
    """
    require_same_shape(large, expert, "large and expert")
    require_same_shape(large, small, "large and small")
    large, expert, small = (_wide(v) for v in (large, expert, small))
    return _matched(large, expert - small, _kl(expert, small), largest, method, tolerance, spacing)


@op
def kl_matched_weights(
    large: Tensor,
    experts: Tensor,
    small: Tensor,
    *,
    direction: Literal["largest", "mixture"] = "largest",
    largest: Positive = 2.0,
    method: Literal["bisection", "grid"] = "bisection",
    tolerance: Positive = 1e-6,
    spacing: Positive = 0.1,
) -> Tensor:
    """Weights in [0, largest] of several experts, one set a row: [..., experts] (Fan et al., 2024).

    The sum over experts of squared ``KL(P_w ‖ P) - KL(Q_t ‖ Q_small)`` is least wherever ``KL(P_w ‖ P)`` is the mean of
    the experts' divergences, so that a direction has to be chosen: that of the expert which moved ``largest``, or a
    ``mixture`` of all, with weights proportional to their divergences. For one expert this is ``kl_matched_weight``.
    ``large`` and ``small`` [..., classes], ``experts`` [experts, ..., classes]. Raises ``ValueError`` if large and
    small differ in shape.

    >>> small, experts = torch.tensor([0.0, 1.0]), torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    >>> ops.kl_matched_weights(small, experts, small)  # half the divergence of the only expert that moved
    tensor([0.6890, 0.0000])
    """
    require_same_shape(large, small, "large and small")
    large, experts, small = (_wide(v) for v in (large, experts, small))
    moved = torch.stack([_kl(expert, small) for expert in experts], dim=-1)
    if direction == "largest":
        shares = F.one_hot(moved.argmax(-1), len(experts)).to(moved.dtype)
    else:  # the largest share is 1, so that the end of the range is that of the box
        shares = moved / moved.amax(-1, keepdim=True).clamp_min(torch.finfo(moved.dtype).tiny)
    way = _combined(shares, experts - small)
    return _matched(large, way, moved.mean(-1), largest, method, tolerance, spacing)[..., None] * shares


def _wide(value: Tensor) -> Tensor:
    """Half precision is too coarse for differences of divergences."""
    return value if value.dtype == torch.float64 else value.float()


def _matched(
    base: Tensor, direction: Tensor, target: Tensor, largest: float, method: str, tolerance: float, spacing: float
) -> Tensor:
    def reached(weight: Tensor) -> Tensor:
        return shift_divergence(base, direction, weight)

    if method == "grid":
        return _on_grid(reached, target, largest, spacing)
    low, high = torch.zeros_like(target), torch.full_like(target, largest)
    inside = reached(high) >= target
    for _ in range(max(1, math.ceil(math.log2(largest / tolerance)))):
        middle = (low + high) / 2
        enough = reached(middle) >= target
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return torch.where(inside, low, torch.full_like(low, largest))


def _on_grid(reached: Callable[[Tensor], Tensor], target: Tensor, largest: float, spacing: float) -> Tensor:
    best, least = torch.zeros_like(target), target.square()
    for step in range(1, math.floor(largest / spacing + 1e-9) + 1):
        weight = torch.full_like(target, step * spacing)
        loss = (reached(weight) - target).square()
        best, least = torch.where(loss < least, weight, best), torch.minimum(loss, least)
    return best


@op
def top_k_filter(logits: Tensor, *, k: Count) -> Tensor:
    """Logits with all but the ``k`` largest at minus infinity (Fan et al., 2018); equals of the last stay.

    ``logits`` [..., classes], as is the result.

    >>> ops.top_k_filter(torch.tensor([3.0, 1.0, 2.0]), k=2)
    tensor([3., -inf, 2.])
    """
    least = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < least, -math.inf)


@op
def top_p_filter(logits: Tensor, *, p: Fraction) -> Tensor:
    """Logits of the fewest most likely classes whose probabilities sum to ``p`` or more; others at minus infinity.

    Nucleus sampling (Holtzman et al., 2020). ``logits`` [..., classes], as is the result. The most likely class always
    stays.

    >>> ops.top_p_filter(torch.tensor([0.6, 0.3, 0.1]).log(), p=0.8)
    tensor([-0.5108, -1.2040,    -inf])
    """
    values, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = values.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    dropped = before >= p
    dropped[..., 0] = False
    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)


@op
def restrict_classes(logits: Tensor, counts: Tensor) -> Tensor:
    """Logits of the classes that have rows; those of others at -10000, whose probability is 0 in any precision.

    ``logits`` [batch, classes], as is the result; ``counts`` [classes], of rows or true. No gradient reaches the others, and
    divergences of two such results are finite. If no class has rows, all are alike. Raises ``ValueError`` for another number of classes.

    >>> ops.restrict_classes(torch.tensor([[1.0, 9.0, 2.0]]), torch.tensor([5.0, 0.0, 5.0])).softmax(1)
    tensor([[0.2689, 0.0000, 0.7311]])
    """
    if counts.shape != logits.shape[-1:]:
        raise ValueError(f"{logits.shape[-1]} classes need as many counts, got {list(counts.shape)}")
    return logits.masked_fill(counts == 0, -1e4)


@op
def restrict_to_range(logits: Tensor, first: Tensor, count: Tensor) -> Tensor:
    """Logits of each row's own classes, ``count`` of them from ``first`` on; those of others at -10000, as of ``restrict_classes``.

    ``logits`` [batch, classes], as is the result; ``first`` and ``count`` [batch] (int64). No gradient reaches the others.

    >>> ops.restrict_to_range(torch.zeros(2, 3), torch.tensor([0, 2]), torch.tensor([2, 1])).softmax(1)
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """
    classes = torch.arange(logits.shape[1], device=logits.device)
    own = (classes >= first[:, None]) & (classes < (first + count)[:, None])
    return logits.masked_fill(~own, -1e4)


@op
def suppressed_logits(logits: Tensor, reinforced: Tensor, *, strength: NonNegative = 5.0) -> Tensor:
    """``v - strength · max(0, v⁺ - v)``: what further training raises is lowered (Eldan and Russinovich, 2023).

    ``logits`` v and ``reinforced`` v⁺ [..., classes] of one shape, of a model before and after training on what it shall
    forget; the result is what one would say that never heard of it. Classes that training lowers stay as they are.
    Raises ``ValueError`` if shapes differ.

    >>> ops.suppressed_logits(torch.tensor([3.0, 2.0]), torch.tensor([3.5, 1.0]), strength=4.0)
    tensor([1., 2.])
    """
    require_same_shape(logits, reinforced, "logits and reinforced")
    return logits - strength * (reinforced - logits).clamp_min(0)


@op
def joint_logits(known: Tensor, novel: Tensor) -> Tensor:
    """Logits of known classes beside those that each of several heads has for novel ones: [batch, heads, known + novel].

    ``known`` [batch, known], ``novel`` [batch, heads, novel].

    >>> ops.joint_logits(torch.tensor([[1.0, 2.0]]), torch.tensor([[[3.0], [4.0]]])).tolist()
    [[[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]]
    """
    return torch.cat([known[:, None].expand(-1, novel.shape[1], -1), novel], dim=-1)
