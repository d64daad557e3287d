"""Covariances of the classes' features: kept running, widened by without drawing anything, and drawn apart."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.ops.indexing import indicator
from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import NonNegative

__all__ = ["feature_disentanglement", "implicit_feature_augmentation", "running_class_covariance"]


@op
def running_class_covariance(
    features: Tensor, labels: Tensor, count: Tensor, mean: Tensor, covariance: Tensor
) -> Tensor:
    """Covariances of all features seen so far, by class [classes, dim, dim], with the gradient of the batch's part (Wang et al., 2019).

    ``features`` [batch, dim], ``labels`` [batch] (int64); ``count`` [classes, 1], ``mean`` [classes, dim] and ``covariance``
    [classes, dim · dim] are what was seen before, zeros at first, and are rewritten in place, without gradient. A batch with n of
    a class, of mean m and biased covariance V, has the share r = n / (n + count): ``(1 - r) Σ + r V + r (1 - r) (μ - m)(μ - m)ᵀ``,
    exactly the biased covariance of both together. A class that the batch has not stays as it was.

    >>> kept = torch.zeros(2, 1), torch.zeros(2, 1), torch.zeros(2, 1)
    >>> for batch in ([1.0, 3.0], [5.0, 7.0]):
    ...     found = ops.running_class_covariance(torch.tensor(batch)[:, None], torch.tensor([0, 0]), *kept)
    >>> found.flatten(), kept[0].flatten(), kept[1].flatten()  # of 1, 3, 5, 7
    (tensor([5., 0.]), tensor([4., 0.]), tensor([4., 0.]))
    """
    classes, dim = mean.shape
    of_class = indicator(labels, classes).to(features.dtype)
    own = of_class.sum(0)[:, None]
    shares = of_class / own.T.clamp_min(1)
    centre = shares.T @ features
    apart = features - centre[labels]
    spread = (shares.T[:, :, None] * apart).transpose(1, 2) @ apart
    r = own / (own + count).clamp_min(1)
    gap = mean - centre
    between = (r * (1 - r))[:, :, None] * gap[:, :, None] * gap[:, None, :]
    found = (1 - r)[:, :, None] * covariance.detach().clone().view(classes, dim, dim) + r[:, :, None] * spread + between
    with torch.no_grad():
        covariance.copy_(found.detach().flatten(1))
        mean.copy_((1 - r) * mean + r * centre)
        count.add_(own)
    return found


@op
def implicit_feature_augmentation(
    logits: Tensor,
    weight: Tensor,
    covariance: Tensor,
    *,
    strength: NonNegative = 1.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Agreement of endlessly many Gaussian variations of each feature, bounded in closed form (Hwang et al., 2024).

    ``logits`` [batch, classes] of a linear head with rows ``weight`` [classes, dim]; ``covariance`` [classes, dim, dim]. With Σ that
    of the likeliest class, ``Σ_i 2 · CE(ℓ + ½ strength · (w_c - w_i)ᵀ Σ (w_c - w_i), i)``, over all classes i: twice the bound on
    the expected ``-log p_i`` of features drawn with covariance ``strength · Σ``. A mean over the batch by default.

    >>> logits, weight = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    >>> still, wide = torch.zeros(2, 2, 2), torch.eye(2).expand(2, 2, 2)
    >>> [round(ops.implicit_feature_augmentation(logits, weight, c).item(), 4) for c in (still, wide)]
    [4.5077, 5.5606]
    """
    within = weight @ covariance @ weight.T
    own = within.diagonal(dim1=1, dim2=2)
    apart = own[:, :, None] + own[:, None, :] - within - within.transpose(1, 2)
    widened = logits[:, None, :] + 0.5 * strength * apart[logits.argmax(1)]
    losses = 2 * (widened.logsumexp(2) - logits).sum(1)
    return reduce_rows(losses, reduction)


@op
def feature_disentanglement(scores: Tensor, labels: Tensor, covariance: Tensor) -> Tensor:
    """``-½ Σ a_cd (1 - cos(Σ_c, Σ_d))`` over pairs of classes: covariances of confused classes point apart (Hwang et al., 2024).

    A scalar of 0 or below. ``scores`` [rows, classes] are predictions of rows with ``labels`` [rows] (int64); a_cd is the dot product of
    the mean predictions for labels c and d, zero for c = d and for labels that no row has, without gradient. ``covariance``
    [classes, dim, dim]; the gradient flows into it alone.

    >>> scores, labels = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([0, 1])
    >>> ops.feature_disentanglement(scores, labels, torch.stack([torch.eye(2), torch.eye(2)]))  # the same: nothing gained
    tensor(0.)
    >>> ops.feature_disentanglement(scores, labels, torch.eye(2).diag_embed())  # at right angles
    tensor(-0.5000)
    """
    classes = len(covariance)
    of_class = indicator(labels, classes).to(scores.dtype)
    means = (of_class.T @ scores.detach()) / of_class.sum(0)[:, None].clamp_min(1)
    confused = (means @ means.T).fill_diagonal_(0)
    flat = covariance.flatten(1)
    lengths = torch.linalg.vector_norm(flat, dim=1)
    cosine = flat @ flat.T / (lengths[:, None] * lengths[None, :] + 1e-12)
    return -0.5 * (confused * (1 - cosine)).sum()
