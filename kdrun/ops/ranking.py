"""Losses that put right answers above wrong ones, and the ranks that come of it. Scores: the higher, the better."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Positive

__all__ = [
    "filtered_rank",
    "negative_sampling_loss",
    "pairwise_ranking_loss",
    "partner_rank",
    "self_adversarial_weight",
]


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

    >>> ops.pairwise_ranking_loss(torch.tensor([3.0]), torch.tensor([[1.0, 2.5]]))  # the second is too near
    tensor(0.2500)
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
    """Binary cross-entropy of right and wrong answers' scores (Sun et al., 2019, eq. 5): a scalar.

    Mean over the batch of ``-log σ(margin + positive) - mean of log σ(-margin - negative)``. ``positive`` [batch];
    ``negative`` and ``mask`` (bool) [batch, negatives]. The second mean is over the kept negatives of a row, or a sum
    with ``weights`` [batch, negatives] (eq. 6). The margin is 0 for bilinear scores and above the usual distance for
    distances.

    >>> ops.negative_sampling_loss(torch.tensor([0.0]), torch.tensor([[0.0, 0.0]]))  # 2 ln 2
    tensor(1.3863)
    >>> ops.negative_sampling_loss(torch.tensor([9.0]), torch.tensor([[-9.0, -9.0]]))
    tensor(0.0002)
    """
    missed = F.softplus(-margin - positive)
    return (missed + _kept_mean(F.softplus(margin + negative), mask, weights)).mean()


@op
def self_adversarial_weight(scores: Tensor, mask: Tensor | None = None, *, temperature: Positive = 1.0) -> Tensor:
    """Weights of negatives: softmax of ``temperature · scores``, without gradient (Sun et al., 2019, eq. 6).

    ``scores`` and ``mask`` (bool) [batch, negatives], as are the weights. Where the mask is false the weight is 0; a
    row with no negative kept has weights of 0. The higher the temperature here, the more the hardest negatives count.

    >>> ops.self_adversarial_weight(torch.tensor([[0.0, 2.0, 9.0]]), torch.tensor([[True, True, False]]))
    tensor([[0.1192, 0.8808, 0.0000]])
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
    """Rank of the true candidate of each row among all that are not known to be true as well: [batch].

    From 1, in float32 for halves. ``scores`` [batch, candidates], ``truth`` [batch] (int64). ``known`` [batch,
    candidates] (bool) takes other right answers out of the ranking (Bordes et al., 2013, "filtered"); the true one
    always stays. ``groups`` [candidates] leaves only candidates of the true one's group. Of equal scores the rank is
    the mean of the best and the worst possible (``mean``), or the best (``min``, which flatters models that answer
    constants).

    >>> scores, truth = torch.tensor([[0.9, 0.5, 0.7, 0.5]]), torch.tensor([1])
    >>> ops.filtered_rank(scores, truth)  # two are above, one is equal
    tensor([3.5000])
    >>> ops.filtered_rank(scores, truth, torch.tensor([[True, False, False, False]]))
    tensor([2.5000])
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


@op
def partner_rank(queries: Tensor, keys: Tensor, groups: Tensor | None = None) -> Tensor:
    """Rank of each query's own key among all keys by cosine: [rows] (float32), from 1; equal cosines count half.

    ``queries`` and ``keys`` [rows, dim], a pair a row. Of the keys whose ``groups`` [rows] (int64) is the query's, such as other copies
    of its sentence, only its own is ranked.

    >>> keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> ops.partner_rank(2 * keys, keys), ops.partner_rank(keys.roll(1, 0), keys)
    (tensor([1., 1., 1.]), tensor([2.5000, 3.0000, 2.0000]))
    """
    scores = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T
    same = None if groups is None else groups[:, None] == groups[None, :]
    return filtered_rank(scores, torch.arange(len(scores), device=scores.device), same)
