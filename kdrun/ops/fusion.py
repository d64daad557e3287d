"""Knowledge of several models put together by weights between them."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import NonNegative

__all__ = ["prediction_prior", "row_shares", "softmax_similarity_weights", "weighted_knowledge_fusion"]


@op
def prediction_prior(probabilities: Tensor) -> Tensor:
    """Mean prediction over rows, an estimate of a model's label prior: [..., classes] of [..., rows, classes]."""
    return probabilities.mean(-2)


@op
def row_shares(counts: list[Tensor]) -> Tensor:
    """Counts [classes] of several data sets as shares: [sets, classes], rows with sum 1."""
    stacked = torch.stack(counts)
    return stacked / stacked.sum(1, keepdim=True)


@op
def softmax_similarity_weights(distance: Tensor, *, sharpness: NonNegative = 1.0) -> Tensor:
    """Softmax of ``-sharpness · distance`` over each row: [models, models], rows with sum 1.

    0 is uniform; towards infinity each model keeps to itself (a distance of 0).
    """
    return (-sharpness * distance).softmax(1)


@op
def weighted_knowledge_fusion(weights: Tensor, probabilities: Tensor) -> Tensor:
    """For each model k the mixture ``Σ_j weights[k, j] · probabilities[j]``: [models, rows, classes].

    ``weights`` [models, models], ``probabilities`` [models, rows, classes].
    """
    return torch.einsum("kj,jmn->kmn", weights, probabilities)
