"""Knowledge of several models put together by weights between them."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import NonNegative

__all__ = [
    "permute_columns",
    "prediction_prior",
    "row_shares",
    "softmax_similarity_weights",
    "weighted_knowledge_fusion",
]


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


@op
def permute_columns(matrix: Tensor, *, generator: torch.Generator) -> Tensor:
    """Each row [rows, columns] in a random order of its own: the same numbers in wrong places."""
    order = torch.rand(matrix.shape, generator=generator, device=generator.device).argsort(1)
    return matrix.gather(1, order.to(matrix.device))


@op
def exclude_expert(tokens: Tensor, own: Tensor) -> Tensor:
    """Tokens [batch, experts, dim] without each row's ``own`` [batch] (int64) expert: [batch, experts - 1, dim], in order."""
    rows, experts, dim = tokens.shape
    kept = torch.arange(experts, device=tokens.device)[None, :] != own[:, None]
    place = torch.where(kept, torch.arange(experts, device=tokens.device), experts).sort(1).values[:, :-1]
    return tokens.gather(1, place[..., None].expand(rows, experts - 1, dim))
