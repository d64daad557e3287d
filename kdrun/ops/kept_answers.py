"""Losses from answers of which only some classes were kept.

No function detaches its inputs: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import Positive

__all__ = ["sparse_cross_entropy", "top_k_kl_divergence"]


@op
def top_k_kl_divergence(
    student: Tensor,
    classes: Tensor,
    shares: Tensor,
    weights: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    squared_temperature: bool = False,
    rest: Literal["bucket", "renormalize"] = "bucket",
    reduction: Literal["batch_mean", "mean", "weighted_mean", "sum", "none"] = "batch_mean",
) -> Tensor:
    """KL(teacher ‖ student) from the teacher's ``k`` likeliest classes, as ``label: top_answers`` keeps them.

    ``student`` logits [batch, classes], ``classes`` [batch, k] (int64), ``shares`` [batch, k] the teacher's probabilities of these
    at ``temperature`` T, by which the student's logits are divided, too. ``bucket`` takes all other classes together as one:
    ``Σ_k p log(p / q) + r log(r / (1 - Σ_k q))`` with the lost mass ``r = 1 - Σ_k p``, never more than the divergence over all
    classes, and that itself if none is left out. ``renormalize`` compares the kept classes among themselves, as if the others
    were not there. Not negative. ``weights`` [batch], reductions and ``squared_temperature`` as in ``kl_divergence``.

    >>> student, shares = torch.tensor([[0.0, 0.0, 0.0, 0.0]]), torch.tensor([[0.5]])
    >>> ops.top_k_kl_divergence(student, torch.tensor([[2]]), shares)  # 1/2 ln 2 + 1/2 ln 2/3
    tensor(0.1438)
    >>> ops.top_k_kl_divergence(student, torch.tensor([[2]]), shares, rest="renormalize")
    tensor(0.)
    """
    student, shares = student / temperature, shares.to(student.dtype)
    if rest == "renormalize":
        shares = shares / shares.sum(1, keepdim=True)
        log_q = student.gather(1, classes).log_softmax(1)
        rows = (torch.xlogy(shares, shares) - shares * log_q).sum(1)
    else:
        log_q = student.log_softmax(1)
        kept = log_q.gather(1, classes)
        rows = (torch.xlogy(shares, shares) - shares * kept).sum(1)
        if classes.shape[1] < student.shape[1]:
            lost = (1 - shares.sum(1)).clamp_min(0)
            others = log_q.scatter(1, classes, float("-inf")).logsumexp(1)
            rows = rows + torch.xlogy(lost, lost) - lost * others
    scale = temperature**2 if squared_temperature else 1.0
    return scale * reduce_rows(rows, reduction, weights)


@op
def sparse_cross_entropy(
    student: Tensor,
    classes: Tensor,
    shares: Tensor,
    weights: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    squared_temperature: bool = False,
    reduction: Literal["batch_mean", "mean", "weighted_mean", "sum", "none"] = "batch_mean",
) -> Tensor:
    """Cross-entropy ``-Σ_k shares log softmax(student / T)`` over the classes that ``label: sampled_answers`` keeps.

    ``student`` logits [batch, classes], ``classes`` [batch, k] (int64; one may come several times), ``shares`` [batch, k]. Where the
    shares are an unbiased sample of a teacher's distribution, so is the loss of the cross-entropy with it, and its gradient of that
    of the Kullback-Leibler divergence. ``weights`` [batch], reductions and ``squared_temperature`` as in ``kl_divergence``.

    >>> ops.sparse_cross_entropy(torch.zeros(1, 4), torch.tensor([[2, 2]]), torch.tensor([[0.5, 0.5]]))  # ln 4
    tensor(1.3863)
    """
    log_q = (student / temperature).log_softmax(1).gather(1, classes)
    rows = -(shares.to(student.dtype) * log_q).sum(1)
    return (temperature**2 if squared_temperature else 1.0) * reduce_rows(rows, reduction, weights)
