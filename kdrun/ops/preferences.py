"""Losses that teach a model from which of its answers are better: preferences, rankings and rewards."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_same_shape
from kdrun.registry import op
from kdrun.types import Positive

__all__ = ["listwise_ranking_loss", "policy_gradient_loss", "preference_loss", "rank_hinge_loss"]


@op
def preference_loss(
    better: Tensor, worse: Tensor, better_reference: Tensor, worse_reference: Tensor, *, beta: Positive = 0.1
) -> Tensor:
    """``-mean log σ(β [(l_w - r_w) - (l_l - r_l)])``: direct preference optimisation (Rafailov et al., 2023), a scalar.

    l are log-likelihoods of the ``better`` and the ``worse`` answer [batch] in nats, summed over tokens, and r those of a frozen
    reference. Only their differences count. ln 2 where the model prefers what the reference prefers. Raises ``ValueError`` if shapes
    differ.

    >>> even = torch.tensor([-4.0])
    >>> ops.preference_loss(even, even, even, even), ops.preference_loss(even + 9, even, even, even, beta=1.0)
    (tensor(0.6931), tensor(0.0001))
    """
    for other in (worse, better_reference, worse_reference):
        require_same_shape(better, other, "the likelihoods")
    return F.softplus(-beta * ((better - better_reference) - (worse - worse_reference))).mean()


@op
def rank_hinge_loss(scores: Tensor, quality: Tensor) -> Tensor:
    """``Σ max(0, p_i - p_j)`` over pairs of a row's answers where i is worse than j, as a mean over rows (Yuan et al., 2023, RRHF).

    ``scores`` p [batch, answers], such as a token's mean log-likelihood, and ``quality`` of the same shape, the higher the better; equal
    answers have no order. 0 where the scores are ordered as the qualities are. Raises ``ValueError`` if shapes differ.

    >>> quality = torch.tensor([[3.0, 2.0, 1.0]])
    >>> ops.rank_hinge_loss(torch.tensor([[-1.0, -2.0, -3.0]]), quality)  # the right order
    tensor(0.)
    >>> ops.rank_hinge_loss(torch.tensor([[-3.0, -2.0, -1.0]]), quality)  # 1 + 1 + 2
    tensor(4.)
    """
    require_same_shape(scores, quality, "scores and qualities")
    worse = quality[:, :, None] < quality[:, None, :]
    above = (scores[:, :, None] - scores[:, None, :]).clamp_min(0)
    return (above * worse).sum((1, 2)).mean()


@op
def listwise_ranking_loss(scores: Tensor, quality: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of a ranking when one after the other is chosen by softmax (Plackett-Luce), a mean over rows: a scalar.

    ``-Σ_k log(exp p_k / Σ_{i≥k} exp p_i)`` with ``scores`` p [batch, answers], best first (Xia et al., 2008, ListMLE; Song et al., 2024,
    PRO), or in the order of ``quality`` of the same shape, the highest first. Raises ``ValueError`` if shapes differ.

    >>> ops.listwise_ranking_loss(torch.zeros(1, 3))  # ln 3!
    tensor(1.7918)
    >>> ops.listwise_ranking_loss(torch.tensor([[0.0, 9.0]]), torch.tensor([[1.0, 2.0]]))
    tensor(0.0001)
    """
    if quality is not None:
        require_same_shape(scores, quality, "scores and qualities")
        scores = scores.gather(1, quality.argsort(dim=1, descending=True, stable=True))
    left = scores.flip(1).logcumsumexp(1).flip(1)
    return (left - scores).sum(1).mean()


@op
def policy_gradient_loss(likelihood: Tensor, reward: Tensor, baseline: Tensor | None = None) -> Tensor:
    """``-mean (R - b) log π``: its gradient is that of the expected reward of sampled answers (Williams, 1992, REINFORCE), a scalar.

    ``likelihood`` log π [batch], in nats, summed over tokens; ``reward`` R [batch] of answers drawn from the model as it is, and
    ``baseline`` b [batch] or a scalar, 0 by default, that does not depend on the answer. No gradient flows through R and b. Raises
    ``ValueError`` if likelihoods and rewards differ in shape.

    >>> ops.policy_gradient_loss(torch.tensor([-2.0, -1.0]), torch.tensor([1.0, 0.0]), torch.tensor(0.5))
    tensor(0.2500)
    """
    require_same_shape(likelihood, reward, "likelihoods and rewards")
    advantage = reward if baseline is None else reward - torch.as_tensor(baseline)
    return -(advantage.detach() * likelihood).mean()
