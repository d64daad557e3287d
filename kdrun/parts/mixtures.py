"""Mixtures of data sources: drawing them, and what optimal transport says of each."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.ops.scaling import log_scale_projection, pseudo_quadratic_gradient
from kdrun.ops.simplex import simplex_projection
from kdrun.ops.transport import class_aware_cost, dual_source_gradient, optimal_transport, sinkhorn_divergence
from kdrun.registry import select, solve
from kdrun.types import Count, Fraction, NonNegative, Positive

__all__ = ["mixture_ascent", "mixture_rows", "mixture_transport", "source_mixture"]

EXACT_LIMIT = 1_000_000
"""Entries of a cost matrix up to which ``epsilon: auto`` solves transport exactly."""

AUTO_EPSILON = 1e-2


def _shares(proportions: Tensor, size: int) -> Tensor:
    """Whole numbers [m] that sum to ``size``, by largest remainders."""
    p = proportions.double()
    if (p < -1e-6).any() or abs(float(p.sum()) - 1) > 1e-4:
        raise InputError(f"proportions are not negative and sum to 1, got {[round(v, 4) for v in p.tolist()]}")
    exact = p.clamp_min(0) / p.sum() * size
    counts = (exact + 1e-6).floor()
    order = (counts - exact).argsort(stable=True)
    counts[order[: size - int(counts.sum())]] += 1
    return counts.long()


def _members(data: Dataset, column: str, count: int) -> list[Tensor]:
    """Row numbers of each source. Raises ``InputError`` if the sources are not ``count``."""
    rows = data.rows()
    if column not in rows:
        raise InputError(f"the data has no column '{column}' that says which source a row is from")
    source = rows[column]
    if int(source.max()) >= count:
        raise InputError(f"proportions for {count} sources do not cover the {int(source.max()) + 1} of the data")
    return [(source == i).nonzero().squeeze(1) for i in range(count)]


def _draw(members: list[Tensor], proportions: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """[size] row numbers, drawn with replacement from each source; sources in order."""
    drawn = []
    for i, count in enumerate(_shares(proportions, size).tolist()):
        if count and not len(members[i]):
            raise InputError(f"source {i} has no rows, but a mixture asks for {count}")
        if count:
            drawn.append(members[i][torch.randint(len(members[i]), (count,), generator=generator)])
    return torch.cat(drawn)


@select
def source_mixture(
    data: Dataset,
    proportions: Tensor | None = None,
    *,
    size: Count,
    shares: list[Fraction] | None = None,
    column: str = "source",
    generator: torch.Generator,
) -> Dataset:
    """``size`` rows, ``size·p_i`` (largest remainders) drawn with replacement from source i; sources one after the other.

    ``column`` names each row's source (int64); ``proportions`` [sources] come from another stage, or as ``shares``.
    Raises ``InputError`` unless one of them is given, on the simplex, for all sources, and none asks for rows that are not.

    >>> pool = data.MemoryDataset({"source": torch.tensor([0, 0, 1])}, data.DataInfo({}))
    >>> parts.source_mixture(pool, shares=[0.25, 0.75], size=4, generator=torch.Generator()).column("source")
    tensor([0, 1, 1, 1])
    """
    if (proportions is None) == (shares is None):
        raise InputError("a mixture takes its proportions either from a stage or as shares")
    given = torch.tensor(shares) if proportions is None else proportions
    return data.select(_draw(_members(data, column, len(given)), given, size, generator))


@solve
def mixture_rows(
    data: Dataset,
    proportions: Tensor,
    *,
    size: Count,
    repeats: Count = 1,
    column: str = "source",
    generator: torch.Generator,
) -> Tensor:
    """Row numbers of mixtures: [repeats, cells, size] (int64), drawn as by ``source_mixture``.

    ``proportions`` [cells, sources], or [sources] for one cell. Raises what ``source_mixture`` raises.

    >>> pool = data.MemoryDataset({"source": torch.tensor([0, 1])}, data.DataInfo({}))
    >>> cells = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    >>> parts.mixture_rows(pool, cells, size=2, generator=torch.Generator())
    tensor([[[0, 0],
             [0, 1]]])
    """
    cells = proportions.reshape(-1, proportions.shape[-1])
    members = _members(data, column, cells.shape[1])
    return torch.stack([torch.stack([_draw(members, p, size, generator) for p in cells]) for _ in range(repeats)])


class _Target:
    """The validation side of the transport, and how to solve it."""

    def __init__(self, data: Dataset, features: Tensor, rows: int | None, options: dict[str, Any]) -> None:
        count = len(features) if rows is None else min(rows, len(features))
        chosen = torch.arange(count) if count == len(features) else _spread(len(features), count)
        self.features, self.labels = features.flatten(1)[chosen].double(), data.rows()["label"][chosen]
        self.epsilon: float | str = options.pop("epsilon")
        self.cost_options = options
        self._within: Tensor | None = None

    def distance(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The distance of a training set to the target, and its duals [n]."""
        cost = class_aware_cost(features, labels, self.features, self.labels, **self.cost_options)
        share = self.epsilon
        if isinstance(share, str):
            share = 0.0 if cost.numel() <= EXACT_LIMIT else AUTO_EPSILON
        if not share:
            found = optimal_transport(cost)
            return found["value"], found["f"]
        within = class_aware_cost(features, labels, features, labels, **self.cost_options)
        if self._within is None:
            self._within = class_aware_cost(self.features, self.labels, self.features, self.labels, **self.cost_options)
        found = sinkhorn_divergence(cost, within, self._within, epsilon=share * float(cost.mean()))
        return found["value"], found["f"]


class _Pool:
    """The rows that mixtures are drawn from."""

    def __init__(self, data: Dataset, features: Tensor, column: str, sources: int) -> None:
        rows = data.rows()
        self.features, self.labels = features.flatten(1).double(), rows["label"]
        self.origins, self.sources = rows[column], sources

    def transported(self, chosen: Tensor, target: _Target) -> tuple[Tensor, Tensor]:
        """The distance of the ``chosen`` rows [n] to the target, and how it moves with the sources' shares [sources]."""
        value, duals = target.distance(self.features[chosen], self.labels[chosen])
        return value, dual_source_gradient(duals, self.origins[chosen], sources=self.sources)


def _spread(total: int, count: int) -> Tensor:
    """``count`` of ``total`` row numbers at even distances."""
    return (torch.arange(count) * total) // count


@solve(extra="transport", requires=("POT",))
def mixture_transport(
    rows: Tensor,
    data: Dataset,
    features: Tensor,
    target: Dataset,
    target_features: Tensor,
    *,
    sources: Count,
    column: str = "source",
    target_rows: Count | None = None,
    label_distance: Literal["means", "gaussian", "exact"] = "gaussian",
    label_weight: NonNegative = 1.0,
    epsilon: NonNegative | Literal["auto"] = "auto",
) -> dict[str, Tensor]:
    """Class-aware transport distance of each mixture to a target set, and how it moves with the sources' shares.

    ``rows`` [repeats, cells, size] as ``mixture_rows`` draws them; ``features`` [rows of data, d] and
    ``target_features`` of frozen networks; ``target_rows`` takes so many target rows at even distances. Fields, medians
    over repeats (float32): ``distance`` [cells], in units of the squared features (``class_aware_cost``), and ``gradient``
    [cells, sources] from the duals (``dual_source_gradient``; Just et al., 2023). ``epsilon`` is the entropic regularisation as
    a share of the mean cost, debiased (Feydy et al., 2019); ``auto`` is 0 (exact) up to a million entries, 0.01 above.

    >>> columns = {"label": torch.tensor([0, 1]), "source": torch.tensor([0, 1])}
    >>> pool, features = data.MemoryDataset(columns, data.DataInfo({})), torch.tensor([[0.0], [1.0]])
    >>> rows = torch.tensor([[[0, 1], [0, 0]]])
    >>> options = {"sources": 2, "label_distance": "means"}
    >>> parts.mixture_transport(rows, pool, features, pool, features, **options)["distance"]
    tensor([0., 1.])
    """
    side = _Target(target, target_features, target_rows, _options(epsilon, label_distance, label_weight))
    pool = _Pool(data, features, column, sources)
    values, slopes = zip(*(pool.transported(chosen, side) for chosen in rows.flatten(0, 1)), strict=True)
    shape = rows.shape[:2]
    return {
        "distance": torch.stack(values).view(shape).quantile(0.5, dim=0).float(),
        "gradient": torch.stack(slopes).view(*shape, sources).quantile(0.5, dim=0).float(),
    }


def _options(epsilon: float | str, label_distance: str, label_weight: float) -> dict[str, Any]:
    return {"epsilon": epsilon, "label_distance": label_distance, "label_weight": label_weight}


@solve(extra="transport", requires=("POT",), fields=("proportions", "path"))
def mixture_ascent(
    first: Tensor,
    second: Tensor,
    data: Dataset,
    features: Tensor,
    target: Dataset,
    target_features: Tensor,
    *,
    size: Count,
    first_size: Count,
    second_size: Count,
    sources: Count,
    form: Literal["reduced", "general"] = "reduced",
    rate: Positive = 5e-4,
    decay: Fraction = 0.9,
    steps: Count = 100,
    scale: Positive = 1.0,
    column: str = "source",
    target_rows: Count | None = None,
    label_distance: Literal["means", "gaussian", "exact"] = "gaussian",
    label_weight: NonNegative = 1.0,
    epsilon: NonNegative | Literal["auto"] = "auto",
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The mixture with the highest projected accuracy at ``size``, by projected gradient ascent (Kang et al., 2023).

    ``first`` and ``second`` are coefficients [terms] fitted at two sizes (``pseudo_quadratic_ot_fit``). Every step draws
    both samples anew, takes their distances and duals, projects the two slopes to ``size`` (``log_scale_projection``) and moves
    by ``rate·decay^step`` times ``scale`` (100 for an accuracy in percent), back onto the simplex. The start is uniform.
    ``data``, ``features``, ``target``, ``target_features`` and ``epsilon`` are as for ``mixture_transport``. Fields:
    ``proportions`` [sources], ``path`` [steps + 1, sources] (float32).

    >>> columns = {"label": torch.tensor([0, 1]), "source": torch.tensor([0, 1])}
    >>> pool, features = data.MemoryDataset(columns, data.DataInfo({})), torch.tensor([[0.0], [1.0]])
    >>> slope = torch.tensor([0.0, 0.4, 0.0, 0.0, 0.0])  # of d, p, p·d, p²·d and 1: the first source is worth more
    >>> options = {"size": 40, "first_size": 10, "second_size": 20, "sources": 2, "rate": 0.1, "steps": 3}
    >>> drawn = {"label_distance": "means", "generator": torch.Generator().manual_seed(0)}
    >>> parts.mixture_ascent(slope, slope, pool, features, pool, features, **options, **drawn)["path"][:, 0]
    tensor([0.5000, 0.5200, 0.5380, 0.5542])
    """
    side = _Target(target, target_features, target_rows, _options(epsilon, label_distance, label_weight))
    members, pool = _members(data, column, sources), _Pool(data, features, column, sources)

    def slope(p: Tensor, coefficients: Tensor, count: int) -> Tensor:
        value, moved = pool.transported(_draw(members, p, count, generator), side)
        return pseudo_quadratic_gradient(coefficients.double(), p, value, moved, form=form)

    p = torch.full((sources,), 1.0 / sources, dtype=torch.float64)
    path = [p]
    for step in range(steps):
        slopes = slope(p, first, first_size), slope(p, second, second_size)
        move = log_scale_projection(*slopes, size=size, first_size=first_size, second_size=second_size)
        p = simplex_projection(p + rate * scale * decay**step * move)
        path.append(p)
    return {"proportions": p.float(), "path": torch.stack(path).float()}
