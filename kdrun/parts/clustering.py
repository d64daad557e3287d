"""Parts of the ``reduce`` stage that find structure in vectors: principal axes, clusters, neighbours in a cluster."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.ops.knowledge_graphs import UNIT
from kdrun.ops.subspaces import principal_axes
from kdrun.registry import reduce
from kdrun.types import Count, Fraction

__all__ = ["cluster_neighbours", "elbow", "kmeans", "pca"]


@reduce
def pca(
    values: Tensor, *, components: Count | None = None, variance: Fraction = 0.9, most: Count = 64
) -> dict[str, Tensor]:
    """Principal components of rows [rows, dim] (Pearson, 1901), axes by falling variance.

    ``values`` [rows, p], the centred rows on the axes; ``axes`` [p, dim]; ``mean`` [dim]; ``explained`` [p], shares of the
    variance. p is ``components``, or the fewest that explain ``variance``, ``most`` at most. Each axis points to where
    its largest entry is positive. Raises ``InputError`` if there are fewer than ``components``.
    """
    rows = values.double()
    mean, singular, axes = principal_axes(rows)
    share = singular.square() / singular.square().sum().clamp_min(1e-30)
    if components is not None and components > len(singular):
        raise InputError(f"{len(rows)} rows of width {rows.shape[1]} have no {components} principal components")
    kept = components or min(int((share.cumsum(0) < variance - 1e-12).sum()) + 1, most, len(singular))
    axes = axes[:kept]
    found = {"values": (rows - mean) @ axes.T, "axes": axes, "mean": mean, "explained": share[:kept]}
    return {name: value.to(values.dtype) for name, value in found.items()}


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
    """K-means of rows [rows, dim], started by k-means++ (Arthur & Vassilvitskii, 2007), best of ``restarts``.

    Of several numbers in ``clusters``, rising, the elbow is taken: the first after which the summed squared distance
    falls by less than a share ``drop``. Gives ``labels`` [rows] (int64), ``centres`` [clusters, dim], and ``inertia``,
    the summed squared distance at each number tried. Raises ``InputError`` if there are fewer rows than clusters.
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
    """
    count = len(values)
    if count < 2:
        raise InputError("neighbours need two rows or more")
    if permute:
        labels = labels[torch.randperm(count, generator=generator)]
    lists: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * count
    everyone = torch.arange(count)
    for label in labels.unique():
        rows = (labels == label).nonzero().squeeze(1)
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
