"""Losses that put right answers above wrong ones, and the ranks that come of it. Scores: the higher, the better."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Positive

__all__ = ["filtered_rank", "negative_sampling_loss", "pairwise_ranking_loss", "self_adversarial_weight"]


def _kept_mean(values: Tensor, mask: Tensor | None, weights: Tensor | None = None) -> Tensor:
    """Mean of each row [batch, negatives] over what ``mask`` keeps (0 where that is nothing), or its weighted sum."""
    if weights is not None:
        return (weights * values).sum(-1)
    if mask is None:
        return values.mean(-1)
    kept = mask.to(values.dtype)
    return (values * kept).sum(-1) / kept.sum(-1).clamp_min(1.0)


@op
def pairwise_ranking_loss(
    positive: Tensor,
    negative: Tensor,
    mask: Tensor | None = None,
    *,
    link: Literal["hinge", "logistic"] = "hinge",
    margin: float = 1.0,
) -> Tensor:
    """Mean over the batch of each row's mean penalty of ``margin - positive + negative``.

    ``positive`` [batch], ``negative`` and ``mask`` (bool) [batch, negatives]. The penalty is ``max(0, x)`` (hinge:
    Bordes et al., 2013, eq. 1, as a mean) or ``log(1 + exp(x))`` (logistic: Burges et al., 2005). A row without a kept
    negative counts as 0.
    """
    gap = margin - positive.unsqueeze(-1) + negative
    penalty = gap.clamp_min(0) if link == "hinge" else F.softplus(gap)
    return _kept_mean(penalty, mask).mean()


@op
def negative_sampling_loss(
    positive: Tensor,
    negative: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    *,
    margin: float = 0.0,
) -> Tensor:
    """Mean over the batch of ``-log σ(margin + positive) - mean of log σ(-margin - negative)`` (Sun et al., 2019, eq. 5).

    ``positive`` [batch]; ``negative`` and ``mask`` (bool) [batch, negatives]. The second mean is over the kept negatives
    of a row, or a sum with ``weights`` [batch, negatives] (eq. 6). The margin is 0 for bilinear scores and above the
    usual distance for distances.
    """
    missed = F.softplus(-margin - positive)
    return (missed + _kept_mean(F.softplus(margin + negative), mask, weights)).mean()


@op
def self_adversarial_weight(scores: Tensor, mask: Tensor | None = None, *, temperature: Positive = 1.0) -> Tensor:
    """Weights of negatives [batch, negatives]: softmax of ``temperature · scores``, without gradient (Sun et al., 2019, eq. 6).

    Where ``mask`` (bool) is false the weight is 0; a row with no negative kept has weights of 0. The higher the
    temperature here, the more the hardest negatives count.
    """
    scaled = temperature * scores.detach()
    if mask is None:
        return scaled.softmax(-1)
    weights = scaled.masked_fill(~mask, -torch.inf).softmax(-1)
    return torch.where(mask, weights, torch.zeros_like(weights))


@op
def filtered_rank(
    scores: Tensor,
    truth: Tensor,
    known: Tensor | None = None,
    groups: Tensor | None = None,
    *,
    ties: Literal["mean", "min"] = "mean",
) -> Tensor:
    """Rank of the true candidate of each row among all that are not otherwise known to be true: [batch] (float).

    ``scores`` [batch, candidates], ``truth`` [batch] (int64). ``known`` [batch, candidates] (bool) takes other right
    answers out of the ranking (Bordes et al., 2013, "filtered"); the true one always stays. ``groups`` [candidates]
    leaves only candidates of the true one's group. Of equal scores the rank is the mean of the best and the worst
    possible (``mean``), or the best (``min``, which flatters models that answer constants).
    """
    own = scores.gather(1, truth[:, None])
    rival = torch.ones_like(scores, dtype=torch.bool) if known is None else ~known
    if groups is not None:
        rival = rival & (groups[None, :] == groups[truth][:, None])
    rival = rival.scatter(1, truth[:, None], False)
    above = ((scores > own) & rival).sum(1)
    best = above.to(torch.float32) + 1
    if ties == "min":
        return best
    return best + ((scores == own) & rival).sum(1) / 2
