"""Knowledge of several models put together by weights between them."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import NonNegative

__all__ = ["prediction_prior", "row_shares", "softmax_similarity_weights", "weighted_knowledge_fusion"]


@op
def prediction_prior(probabilities: Tensor) -> Tensor:
    """Mean prediction over rows, an estimate of a model's label prior: [..., classes] of [..., rows, classes].

    >>> ops.prediction_prior(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([0.7500, 0.2500])
    """
    return probabilities.mean(-2)


@op
def row_shares(counts: list[Tensor]) -> Tensor:
    """Counts of several data sets as shares: [sets, classes], rows with sum 1.

    ``counts`` is a list with one tensor [classes] a set, not all 0.

    >>> ops.row_shares([torch.tensor([3.0, 1.0]), torch.tensor([0.0, 2.0])])
    tensor([[0.7500, 0.2500],
            [0.0000, 1.0000]])
    """
    stacked = torch.stack(counts)
    return stacked / stacked.sum(1, keepdim=True)


@op
def softmax_similarity_weights(distance: Tensor, *, sharpness: NonNegative = 1.0) -> Tensor:
    """Softmax of ``-sharpness · distance`` over each row: [models, models], rows with sum 1.

    ``sharpness`` 0 is uniform; towards infinity each model keeps to itself (a distance of 0).

    >>> distance = torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    >>> ops.softmax_similarity_weights(distance, sharpness=0.0)
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    >>> ops.softmax_similarity_weights(distance)
    tensor([[0.8808, 0.1192],
            [0.1192, 0.8808]])
    """
    return (-sharpness * distance).softmax(1)


@op
def weighted_knowledge_fusion(weights: Tensor, probabilities: Tensor) -> Tensor:
    """For each model k the mixture ``Σ_j weights[k, j] · probabilities[j]``: [models, rows, classes].

    ``weights`` [models, models], ``probabilities`` [models, rows, classes].

    >>> probabilities = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # of two models, for one row
    >>> ops.weighted_knowledge_fusion(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), probabilities).tolist()
    [[[1.0, 0.0]], [[0.5, 0.5]]]
    """
    return torch.einsum("kj,jmn->kmn", weights, probabilities)
