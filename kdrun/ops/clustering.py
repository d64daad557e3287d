"""Pseudo-labels by clustering, over all rows of a data set at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_rows, require_same_batch
from kdrun.ops.indexing import indicator
from kdrun.registry import op, shape_of
from kdrun.types import Count, Fraction, NonNegative, Positive, Unsigned

__all__ = ["joint_targets", "kmeans_centroids", "one_vs_all_pseudo_label", "sinkhorn_assignment"]


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


@op
def sinkhorn_assignment(scores: Tensor, *, epsilon: Positive = 0.05, iterations: Count = 3) -> Tensor:
    """Soft clusters of all rows, as many rows in each: [rows, ..., clusters] (float32), each row sums to 1 (Caron et al., 2020).

    ``exp(scores / epsilon)`` is scaled ``iterations`` times in turn, so that clusters hold equal shares of the rows and rows are
    wholly assigned, the last being exact. ``scores`` [rows, ..., clusters], such as cosines; each entry of the axes between (heads)
    is a clustering of its own. No gradient. With fewer rows than clusters the shares can be met only by rows in several clusters.

    >>> ops.sinkhorn_assignment(torch.tensor([[0.9, 0.0], [0.8, 0.0]]))  # both like the first: the less like one gives way
    tensor([[0.7272, 0.2728],
            [0.2651, 0.7349]])
    """
    values = scores.detach().float() / epsilon
    plan = (values - values.amax((0, -1), keepdim=True)).exp()
    plan = plan / plan.sum((0, -1), keepdim=True)
    for _ in range(iterations):
        plan = plan / plan.sum(0, keepdim=True) / plan.shape[-1]
        plan = plan / plan.sum(-1, keepdim=True) / len(plan)
    return plan * len(plan)


@op
def joint_targets(labels: Tensor, assignment: Tensor, *, known: Count) -> dict[str, Tensor]:
    """Targets over known and novel classes of labelled rows, followed by unlabelled ones (Fini et al., 2021).

    ``labels`` [a] (int64) of the ``known`` classes and ``assignment`` [b, heads, novel] of unlabelled rows to novel ones. Fields:
    ``target`` [a + b, heads, known + novel], one-hot among the known or the assignment among the novel classes, zero elsewhere, and
    ``labelled`` [a + b] (bool). No gradient.

    >>> found = ops.joint_targets(torch.tensor([1]), torch.tensor([[[0.25, 0.75]]]), known=2)
    >>> found["target"][:, 0], found["labelled"]
    (tensor([[0.0000, 1.0000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.2500, 0.7500]]), tensor([ True, False]))
    """
    heads, novel = assignment.shape[1:]
    told = F.pad(indicator(labels, known).to(assignment.dtype), (0, novel))[:, None].expand(-1, heads, -1)
    found = F.pad(assignment.detach(), (known, 0))
    rows = torch.arange(len(labels) + len(assignment), device=labels.device)
    return {"target": torch.cat([told, found]), "labelled": rows < len(labels)}
