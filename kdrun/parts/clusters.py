"""Stage parts that cluster what a model says of a data set: how many classes there are, and which row is whose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn import functional as F

from kdrun.data.dataset import Dataset
from kdrun.ops.clustering import one_vs_all_pseudo_label as pseudo_labels
from kdrun.registry import label, reduce, shape_of
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count, Fraction, Positive, Unsigned

__all__ = ["best_ratio", "cluster_number_by_silhouette", "one_vs_all_pseudo_label"]


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
    """How many classes there are in ``data``, over the model's number of classes: the best of ``candidates``, a scalar.

    Unit-length features of a ``share`` of the rows are embedded in the plane by t-SNE (started from principal axes);
    the candidate whose number of k-means clusters (2 at least) there has the best silhouette wins (Rousseeuw, 1987).
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

    ``ratio`` is the number of classes in ``data`` over that of the model; see the op of this name.
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
