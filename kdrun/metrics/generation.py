"""How like real data generated samples are, in a feature space."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.registry import metric
from kdrun.types import Count

__all__ = ["frechet_distance", "manifold_recall", "mean_squared_distance"]


@metric(best="lowest")
def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Fréchet distance of two samples' features taken as Gaussian (Heusel et al., 2017); 0 or above.

    ``|μ - μ'|² + tr(Σ + Σ' - 2 (ΣΣ')^½)`` of ``features`` and ``reference`` [rows, dim], in float64, with unbiased
    covariances. Raises ``InputError`` if a sample has fewer than two rows.

    >>> features = torch.tensor([[0.0], [2.0]])
    >>> round(metrics.frechet_distance(features, features + 3), 4)  # a shift by 3
    9.0
    """
    first, second = features.double().flatten(1), reference.double().flatten(1)
    if min(len(first), len(second)) < 2:
        raise InputError("a Fréchet distance needs two rows of each sample at least")
    shift = (first.mean(0) - second.mean(0)).square().sum()
    a, b = torch.cov(first.T).reshape(first.shape[1], -1), torch.cov(second.T).reshape(second.shape[1], -1)
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp_min(0).sqrt().sum()
    return (shift + a.trace() + b.trace() - 2 * cross).item()


@metric
def manifold_recall(features: Tensor, reference: Tensor, *, neighbours: Count = 3) -> float:
    """Share of reference rows that lie near a generated row (Kynkäänniemi et al., 2019); from 0 to 1.

    Near is within the distance of that generated row to its k-th neighbour, k being ``neighbours``, among the generated
    ones. ``features`` (generated) and ``reference`` [rows, dim], more than k generated rows.

    >>> features, reference = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.5], [9.0]])
    >>> metrics.manifold_recall(features, reference, neighbours=1)
    0.5
    """
    first, second = features.double().flatten(1), reference.double().flatten(1)
    radius = torch.cdist(first, first).kthvalue(neighbours + 1, dim=1).values
    return (torch.cdist(second, first) <= radius).any(1).double().mean().item()


@metric(best="lowest")
def mean_squared_distance(first: Tensor, second: Tensor) -> float:
    """Mean square of the elementwise difference of two tensors of one shape; 0 or above.

    >>> metrics.mean_squared_distance(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]))
    2.0
    """
    return (first.double() - second.double()).square().mean().item()
