"""Pseudo-labels by clustering, over all rows of a data set at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_rows, require_same_batch
from kdrun.ops.indexing import indicator
from kdrun.registry import op, shape_of
from kdrun.types import Count, Fraction, NonNegative, Unsigned

__all__ = ["kmeans_centroids", "one_vs_all_pseudo_label"]


def kmeans_centroids(points: Tensor, clusters: int, *, iterations: int = 100, seed: int = 0) -> Tensor:
    """Centroids [clusters, dim] of k-means (Euclidean, k-means++ start) over ``points`` [rows, dim]; fewer if rows are."""
    from sklearn.cluster import KMeans

    fitted = KMeans(min(clusters, len(points)), n_init=1, max_iter=iterations, random_state=seed)
    centers = fitted.fit(points.detach().float().cpu().numpy()).cluster_centers_
    return torch.from_numpy(centers).to(points)


@op
def one_vs_all_pseudo_label(
    features: Tensor,
    probabilities: Tensor,
    ratio: Tensor,
    *,
    prior_weight: Fraction = 0.75,
    reject: bool = True,
    iterations: Count = 100,
    eps: NonNegative = 0.0,
    seed: Unsigned = 0,
) -> dict[str, Tensor]:
    """Known or unknown? One-versus-all clustering of all rows (Qu et al., 2023, section 3.2).

    ``features`` [rows, dim], normalised here; ``probabilities`` [rows, classes]; ``ratio`` γ, a scalar: target classes
    over source classes. A class's prototype is the normalised mean of its ⌊rows/(classes γ)⌋ surest rows; its negatives
    are the normalised ⌊γ classes⌋ centroids of all other rows (k-means from ``seed``, ``iterations`` at most). A row
    belongs to the class of the nearest prototype if ``π · its similarity`` is at least that of the nearest negative, π
    mixing the mean confidence of the class's surest rows with 1 (weight ``prior_weight``); else to none.

    Fields: ``soft`` [rows, classes], one-hot or uniform, each row divided by its sum + ``eps``; ``hard`` [rows]
    (int64), the number of classes where a row belongs to none; and for banks of the same pass ``features`` at unit
    length and ``scores``, the probabilities. Without ``reject`` every row belongs to its nearest class: closed-set
    prototype labels. Raises ``ValueError`` for other shapes.

    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    >>> found = ops.one_vs_all_pseudo_label(features, probabilities, torch.tensor(1.0), reject=False)
    >>> found["hard"]
    tensor([0, 0, 1, 1])
    """
    require_rows(features, probabilities)
    require_same_batch(features, probabilities, "features and probabilities")
    unit = F.normalize(features.float(), dim=1)
    rows, classes = probabilities.shape
    gamma = float(ratio)
    count = min(max(int(rows / (classes * gamma)), 1), rows)
    surest = probabilities.topk(count, dim=0).indices
    similarity = unit @ F.normalize(unit[surest].mean(0), dim=1).T
    hard = similarity.argmax(1)
    if reject and count < rows:
        prior = (1 - prior_weight) * probabilities.gather(0, surest).mean(0) + prior_weight
        clusters = max(int(gamma * classes), 1)
        against = torch.stack(
            [_nearest_negative(unit, chosen, clusters, iterations, seed) for chosen in surest.T], dim=1
        )
        accepted = (prior * similarity >= against).gather(1, hard[:, None]).squeeze(1)
        hard = torch.where(accepted, hard, classes)
    soft = (indicator(hard, classes) | (hard == classes)[:, None]).to(probabilities.dtype)
    soft = soft / (soft.sum(1, keepdim=True) + eps)
    return {"soft": soft, "hard": hard, "features": unit, "scores": probabilities}


@shape_of("op", "one_vs_all_pseudo_label")
def _labels_of_all_rows(features: Tensor, probabilities: Tensor, ratio: Tensor, **options: Any) -> dict[str, Tensor]:
    require_rows(features, probabilities)
    require_same_batch(features, probabilities, "features and probabilities")
    hard = probabilities.argmax(1)
    return {
        "soft": torch.zeros_like(probabilities),
        "hard": hard,
        "features": features.float(),
        "scores": probabilities,
    }


def _nearest_negative(unit: Tensor, chosen: Tensor, clusters: int, iterations: int, seed: int) -> Tensor:
    """Similarity [rows] with the nearest centroid of all rows but the ``chosen``."""
    others = torch.ones(len(unit), dtype=torch.bool, device=unit.device)
    others[chosen] = False
    centroids = kmeans_centroids(unit[others], clusters, iterations=iterations, seed=seed)
    return (unit @ F.normalize(centroids, dim=1).T).amax(1)
