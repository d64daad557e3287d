"""Masks of weights: which share of them is kept, and which of them belong to a task."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Fraction

__all__ = ["exclusive_mask", "mask_overlap", "topk_mask"]


@op
def topk_mask(scores: Tensor, *, share: Fraction = 0.1) -> Tensor:
    """1 where ``|scores|`` is among the largest ``share`` of a tensor, else 0 (edge-popup: Ramanujan et al., 2020).

    The ``int((1 - share) · n)`` smallest of n entries are 0; of equal ones the first go first. The shape and dtype are those of
    ``scores`` [...]. Straight through: the gradient with respect to ``|scores|`` is that with respect to the mask, so
    that a score's own is multiplied by its sign.

    >>> scores = torch.tensor([0.1, -3.0, 2.0, -0.2], requires_grad=True)
    >>> ops.topk_mask(scores, share=0.5).detach()
    tensor([0., 1., 1., 0.])
    >>> (ops.topk_mask(scores, share=0.5) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    >>> scores.grad
    tensor([ 1., -2.,  3., -4.])
    """
    magnitude = scores.abs()
    order = magnitude.detach().flatten().argsort(stable=True)
    dropped = int((1 - share) * order.numel())
    kept = torch.ones_like(order, dtype=scores.dtype).index_fill(0, order[:dropped], 0.0).view_as(scores)
    return kept + (magnitude - magnitude.detach())  # the difference is exactly 0: the mask stays one of zeros and ones


@op
def exclusive_mask(masks: Tensor) -> Tensor:
    """What the last of several masks keeps and none of those before it does: ``m_t ∧ ¬(m_1 ∨ … ∨ m_{t-1})``.

    ``masks`` [tasks, ...] of zeros and ones, or bool; gives [...] of their dtype (Yadav & Bansal, 2022; PackNet: Mallya &
    Lazebnik, 2018).

    >>> ops.exclusive_mask(torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]))
    tensor([0, 0, 0, 1])
    """
    taken = masks[:-1].bool().any(0)
    return (masks[-1].bool() & ~taken).to(masks.dtype)


@op
def mask_overlap(masks: Tensor) -> Tensor:
    """Share of what the last of several masks keeps that one before it kept, too: ``|m_t ∧ (m_1 ∨ … ∨ m_{t-1})| / |m_t|``.

    ``masks`` [tasks, ...] of zeros and ones, or bool; a scalar, 0 for a single mask or one that keeps nothing.

    >>> ops.mask_overlap(torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0]]))
    tensor(0.5000)
    """
    last, taken = masks[-1].bool(), masks[:-1].bool().any(0)
    return (last & taken).sum() / last.sum().clamp_min(1)
