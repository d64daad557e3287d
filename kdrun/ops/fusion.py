"""Knowledge of several models, or of several adapters of one, put together by weights between them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import NonNegative

__all__ = [
    "attention_fusion",
    "prediction_prior",
    "row_shares",
    "scaled_adapter_sum",
    "softmax_similarity_weights",
    "weighted_knowledge_fusion",
]


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


@op
def scaled_adapter_sum(
    up: Tensor, residual: Tensor, scale: Tensor, *, normalise: Literal["none", "mean", "softmax"] = "none"
) -> Tensor:
    """``residual + Σ_n scale_n ⊙ up_n`` over what n adapters, or experts, add: [..., features] (Frohmann et al., 2024).

    ``up`` [..., n, features] is without the residual [..., features], ``scale`` [n, features] or [n, 1]. With ``mean`` the coefficients
    are divided by their sum over n, with ``softmax`` they are its softmax over n; by default neither. Raises ``ValueError`` if ``scale``
    has not a row for each of n.

    >>> up = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # of two adapters, for one token
    >>> ops.scaled_adapter_sum(up, torch.tensor([[10.0, 10.0]]), torch.tensor([[3.0], [-1.0]]))
    tensor([[13.,  9.]])
    """
    if scale.dim() != 2 or scale.shape[0] != up.shape[-2]:
        raise ValueError(f"{up.shape[-2]} adapters need as many rows of coefficients, got {list(scale.shape)}")
    if normalise == "mean":
        scale = scale / scale.sum(0, keepdim=True)
    elif normalise == "softmax":
        scale = scale.softmax(0)
    return residual + (up * scale).sum(-2)


@op
def attention_fusion(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``Σ_n softmax_n(query · key_n) value_n``: each row mixes n values by its own attention, [..., features] (Pfeiffer et al., 2021).

    ``query`` [..., width], ``key`` [..., n, width] and ``value`` [..., n, features]; products are not divided by √width.

    >>> key, value = torch.tensor([[[9.0], [-9.0]]]), torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    >>> ops.attention_fusion(torch.tensor([[9.0]]), key, value)  # attends to the first alone
    tensor([[1., 2.]])
    """
    weights = (key @ query.unsqueeze(-1)).softmax(-2)
    return (weights * value).sum(-2)
