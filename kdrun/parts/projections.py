"""Parts of the ``initialize`` stage: linear maps fitted in closed form."""

from __future__ import annotations

from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.ops.subspaces import principal_axes
from kdrun.registry import initialize
from kdrun.types import Count

__all__ = ["principal_components"]


@initialize
def principal_components(
    data: Dataset, *, components: Count, standardize: bool = True, column: str = "image"
) -> Module:
    """A linear model that maps the flattened ``column`` to its first principal components, centred.

    ``standardize`` divides each by its standard deviation (whitening). The sign of a component makes its largest loading
    positive. Raises ``InputError`` for more components than rows or pixels.
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
