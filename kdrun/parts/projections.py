"""Principal components: of rows handed in, or as a linear model fitted to a column."""

from __future__ import annotations

from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.ops.subspaces import principal_axes
from kdrun.registry import initialize, reduce
from kdrun.types import Count, Fraction

__all__ = ["pca", "principal_components"]


@reduce
def pca(
    values: Tensor, *, components: Count | None = None, variance: Fraction = 0.9, most: Count = 64
) -> dict[str, Tensor]:
    """Principal components of rows [rows, dim] (Pearson, 1901), axes by falling variance.

    ``values`` [rows, p], the centred rows on the axes; ``axes`` [p, dim]; ``mean`` [dim]; ``explained`` [p], shares of the
    variance; all in the dtype of the rows. p is ``components``, or the fewest that explain ``variance``, ``most`` at most. Each axis
    points to where its largest entry is positive. Raises ``InputError`` if there are fewer than ``components``.

    >>> found = parts.pca(torch.tensor([[1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]]))
    >>> found["axes"], found["explained"]
    (tensor([[0.7071, 0.7071]]), tensor([1.]))
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


@initialize
def principal_components(
    data: Dataset, *, components: Count, standardize: bool = True, column: str = "image"
) -> Module:
    """A linear model that maps the flattened ``column`` to its first principal components, centred (Pearson, 1901).

    Its weight is [components, pixels], its bias [components], float32. ``standardize`` divides each by its standard deviation
    (whitening). The sign of a component makes its largest loading positive. Raises ``InputError`` for more components than rows
    or pixels.

    >>> rows = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]])
    >>> pool = data.MemoryDataset({"image": rows}, data.DataInfo({}))
    >>> parts.principal_components(pool, components=1)(rows).flatten().tolist()
    [1.0, -1.0, 0.0]
    """
    x = data.rows()[column].flatten(1).double()
    if components > min(x.shape):
        raise InputError(f"{x.shape[0]} rows of {x.shape[1]} numbers have no {components} principal components")
    mean, singular, axes = principal_axes(x)
    axes = axes[:components]
    if standardize:
        axes = axes / (singular[:components, None] / (len(x) - 1) ** 0.5).clamp_min(1e-12)
    model = build({"model": "linear_classifier", "in_features": x.shape[1], "num_classes": components})
    weights = {"head.weight": axes.float(), "head.bias": -(axes @ mean).float()}
    model.load_state_dict(weights)
    return model
