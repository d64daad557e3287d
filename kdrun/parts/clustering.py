"""Clusters in vectors and in what a model says of a data set: which there are, how many, who is near whom."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn import functional as F

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.ops.clustering import one_vs_all_pseudo_label as pseudo_labels
from kdrun.ops.knowledge_graphs import UNIT
from kdrun.registry import label, reduce, shape_of
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count, Fraction, Positive, Unsigned

__all__ = [
    "best_ratio",
    "cluster_neighbours",
    "cluster_number_by_silhouette",
    "elbow",
    "kmeans",
    "one_vs_all_pseudo_label",
]


def elbow(inertias: list[float], drop: float) -> int:
    """The position after which the next of falling ``inertias`` is less than a share ``drop`` lower; else the last one."""
    for place, (now, after) in enumerate(itertools.pairwise(inertias)):
        if now <= 0 or (now - after) / now < drop:
            return place
    return len(inertias) - 1


@reduce
def kmeans(
    values: Tensor,
    *,
    clusters: list[Count],
    drop: Fraction = 0.1,
    restarts: Count = 4,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """K-means of rows [rows, dim], started by k-means++ (Arthur & Vassilvitskii, 2007), the best of ``restarts``.

    Of several numbers in ``clusters``, rising, the elbow is taken: the first after which the summed squared distance
    falls by less than a share ``drop``. Gives ``labels`` [rows] (int64), ``centres`` [clusters, dim] in the dtype of
    ``values``, and ``inertia`` [numbers tried] (float64): ``Σ |x - centre(x)|²`` at each. Raises ``InputError`` if there are
    fewer rows than clusters.

    >>> values = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    >>> found = parts.kmeans(values, clusters=[1, 2], generator=torch.Generator().manual_seed(0))
    >>> found["centres"].sort(dim=0).values, found["inertia"]
    (tensor([[0.0500],
            [5.0500]]), tensor([2.5010e+01, 1.0000e-02], dtype=torch.float64))
    """
    from sklearn.cluster import KMeans

    if max(clusters) > len(values):
        raise InputError(f"{len(values)} rows do not fill {max(clusters)} clusters")
    seed = int(torch.randint(1 << 31, (), generator=generator))
    found = [KMeans(k, n_init=restarts, random_state=seed).fit(values.double().numpy()) for k in clusters]
    inertias = [float(f.inertia_) for f in found]
    chosen = found[elbow(inertias, drop)]
    return {
        "labels": torch.from_numpy(chosen.labels_).long(),
        "centres": torch.from_numpy(chosen.cluster_centers_).to(values.dtype),
        "inertia": torch.tensor(inertias, dtype=torch.float64),
    }


@reduce
def cluster_neighbours(
    values: Tensor,
    labels: Tensor,
    *,
    nearest: Count | None = None,
    fallback: Count = 10,
    law: Literal["uniform", "distance"] = "uniform",
    permute: bool = False,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The other members of each row's cluster, near ones first, and with what probability each is drawn.

    ``values`` [rows, dim] by which distance is measured, ``labels`` [rows] (int64). A list holds the ``nearest`` members,
    or all; one who is alone in a cluster gets the ``fallback`` nearest rows of any. Members are equally likely
    (``uniform``), or as ``exp(-distance / τ)`` with τ the median distance in all lists (``distance``). ``permute`` deals
    the labels out at random, sizes kept: a control. Raises ``InputError`` if there is but one row.

    Lists stand one after the other: ``members`` [total] (int64), ``start`` [rows + 1] (int64), the place where each
    begins, and ``cumulative`` [total] (int64, rising): row + the probabilities summed up to there, in units of 2⁻³¹, so
    that one bisection finds the list and the place in it.

    >>> values = torch.tensor([[0.0], [1.0], [3.0], [9.0]])
    >>> labels = torch.tensor([0, 0, 0, 1])
    >>> found = parts.cluster_neighbours(values, labels, fallback=1, generator=torch.Generator())
    >>> [found["members"][a:b].tolist() for a, b in found["start"].unfold(0, 2, 1)]
    [[1, 2], [0, 2], [1, 0], [2]]
    """
    count = len(values)
    if count < 2:
        raise InputError("neighbours need two rows or more")
    if permute:
        labels = labels[torch.randperm(count, generator=generator)]
    lists: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * count
    everyone = torch.arange(count)
    for cluster in labels.unique():
        rows = (labels == cluster).nonzero().squeeze(1)
        pool, limit = (rows, nearest) if len(rows) > 1 else (everyone, fallback)
        distance = torch.cdist(values[rows], values[pool], compute_mode="donot_use_mm_for_euclid_dist")
        distance[rows[:, None] == pool[None, :]] = torch.inf
        ordered, place = distance.sort(dim=1, stable=True)
        kept = min(limit or len(pool), len(pool) - 1)
        for row, near, apart in zip(rows.tolist(), pool[place[:, :kept]], ordered[:, :kept], strict=True):
            lists[row] = (near, apart)
    scale = torch.cat([apart for _, apart in lists]).median().double().clamp_min(1e-12)
    cumulative = []
    for row, (_, apart) in enumerate(lists):
        weight = torch.ones(len(apart)).double() if law == "uniform" else (-apart.double() / scale).exp()
        cumulative.append(row * UNIT + (weight.cumsum(0) / weight.sum() * UNIT).round().long())
        cumulative[-1][-1] = (row + 1) * UNIT
    start = torch.tensor([0, *(len(near) for near, _ in lists)]).cumsum(0)
    return {"members": torch.cat([near for near, _ in lists]), "start": start, "cumulative": torch.cat(cumulative)}


@reduce(random=False)
def cluster_number_by_silhouette(
    model: Module,
    data: Dataset,
    *,
    candidates: list[Positive] = (0.25, 0.5, 1.0, 2.0, 3.0),  # type: ignore[assignment]
    share: Fraction = 1.0,
    tap: str = "feature",
    seed: Unsigned = 0,
    batch_size: Count = 512,
    context: Context,
) -> Tensor:
    """How many classes there are in ``data``, over the model's number of classes: the best of ``candidates``, a scalar (float32).

    Unit-length features of a ``share`` of the rows (at least three, drawn by ``seed``) are embedded in the plane by t-SNE,
    started from principal axes; the candidate γ whose ``max(⌊γ classes⌋, 2)`` k-means clusters there have the best
    silhouette wins (Rousseeuw, 1987). ``model`` gives features at ``tap`` and logits [rows, classes] of the column ``image``.
    """
    columns = outputs_over(model, data, {"feature": tap}, input="image", batch_size=batch_size, context=context)
    features = F.normalize(columns["feature"].flatten(1), dim=1)
    if share < 1:
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
        features = features[order[: max(int(share * len(features)), 3)]]
    return torch.tensor(best_ratio(features, columns["logits"].shape[1], list(candidates), seed=seed))


@shape_of("reduce", "cluster_number_by_silhouette")
def cluster_number_shape(
    model: Module, data: Dataset, *, tap: str = "feature", batch_size: Count = 512, context: Context, **options: Any
) -> Tensor:
    """A scalar, of a model that has the features."""
    outputs_over(model, data, {"feature": tap}, input="image", batch_size=batch_size, context=context)
    return torch.zeros(())


def best_ratio(features: Tensor, classes: int, candidates: list[float], *, seed: int = 0) -> float:
    """The candidate γ whose ⌊γ classes⌋ clusters of the embedded ``features`` [rows, dim] have the best silhouette.

    k-means has the best of ten starts, so that numbers of clusters are compared and not starts. A single candidate wins.
    """
    if len(candidates) == 1:
        return candidates[0]
    from sklearn.cluster import KMeans
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    points = features.float().cpu().numpy()
    perplexity = min(30.0, (len(points) - 1) / 3)
    plane = TSNE(2, init="pca", perplexity=perplexity, random_state=seed).fit_transform(points)
    scores = {}
    for ratio in candidates:
        clusters = max(int(ratio * classes), 2)
        if clusters < len(points):
            found = KMeans(clusters, n_init=10, random_state=seed).fit_predict(plane)
            scores[ratio] = float(silhouette_score(plane, found)) if len(set(found.tolist())) > 1 else -1.0
    return max(scores, key=lambda ratio: scores[ratio])


@label(random=False)
def one_vs_all_pseudo_label(
    model: Module,
    data: Dataset,
    ratio: Tensor,
    *,
    prior_weight: Fraction = 0.75,
    reject: bool = True,
    seed: Unsigned = 0,
    tap: str = "feature",
    column: str = "pseudo",
    batch_size: Count = 512,
    context: Context,
) -> Dataset:
    """Add a class number to each row, or the number of classes where it belongs to none: ``column`` [rows] (int64).

    ``model`` gives features at ``tap`` and logits [rows, classes] of the column ``image``; ``ratio``, a scalar, is the number of
    classes in ``data`` over that of the model. ``prior_weight`` and ``reject`` are those of the op of this name
    (Qu et al., 2023).
    """
    columns = outputs_over(model, data, {"feature": tap}, input="image", batch_size=batch_size, context=context)
    feature, probabilities = columns["feature"].flatten(1), columns["logits"].softmax(-1)
    found = pseudo_labels(feature, probabilities, ratio, prior_weight=prior_weight, reject=reject, seed=seed)
    return data.with_columns({column: found["hard"]})


@shape_of("label", "one_vs_all_pseudo_label")
def one_vs_all_pseudo_label_shape(
    model: Module,
    data: Dataset,
    ratio: Tensor,
    *,
    tap: str = "feature",
    column: str = "pseudo",
    batch_size: Count = 512,
    context: Context,
    **options: Any,
) -> Dataset:
    """A class number a row, of a model that has the features."""
    outputs_over(model, data, {"feature": tap}, input="image", batch_size=batch_size, context=context)
    return data.with_columns({column: torch.zeros(len(data), dtype=torch.int64)})
