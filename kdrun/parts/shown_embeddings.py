"""Part of the ``show`` stage for features: rows as points of a plane."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import show
from kdrun.runtime.artifacts import Value
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count

__all__ = ["embedding", "principal_plane"]


@show(fields=("shown",))
def embedding(
    model: Module,
    data: Dataset,
    *,
    of: str = "feature",
    taps: dict[str, str] | None = None,
    column: str = "label",
    input: str = "image",
    rows: Count = 600,
    batch_size: Count = 512,
    context: Context,
) -> dict[str, Value]:
    """Features of the first ``rows`` rows as points on their two principal axes, by the class in ``column`` [rows] (int64).

    ``of`` is one of ``taps`` (default: ``feature``, what the head reads) or what the model gives, [rows, ...], flattened. Told
    is the share of the variance that each axis has. Rows without such a column are of one class. Raises ``InputError`` for
    features of less than two numbers, or fewer than two rows.
    """
    asked = {"feature": "feature"} if taps is None and of == "feature" else (taps or {})
    chosen = data.select(torch.arange(min(rows, len(data))))
    columns = outputs_over(model, chosen, asked, input=input, batch_size=batch_size, context=context)
    if of not in columns:
        raise InputError(f"the model gives no '{of}'; it gives: {', '.join(columns)}", key=f"{context.config_key}.of")
    points, shares = principal_plane(columns[of].flatten(1))
    label = columns.get(column)
    of_class = label.long() if label is not None and label.dim() == 1 else torch.zeros(len(points)).long()
    names = data.info.class_names
    told = [str(i) for i in range(int(of_class.max()) + 1)] if names is None or column != "label" else list(names)
    return {
        "shown": Value(
            {
                "kind": "embedding",
                "points": [[round(x, 4), round(y, 4)] for x, y in points.tolist()],
                "classes": of_class.tolist(),
                "names": told,
                "shares": shares,
            }
        )
    }


def principal_plane(features: Tensor) -> tuple[Tensor, list[float]]:
    """Coordinates [rows, 2] of features [rows, dim] on their two principal axes, and each axis's share of the variance.

    Axes point to where their largest entry is positive, so that the same features give the same picture. In float64. Raises
    ``InputError`` for less than two rows or numbers a row.
    """
    if features.shape[0] < 2 or features.shape[1] < 2:
        raise InputError(f"an embedding shows two rows or more of two numbers or more, got {list(features.shape)}")
    centred = features.double() - features.double().mean(0)
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    signs = axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()
    variances = values.square()
    shares = (variances[:2] / variances.sum().clamp(min=1e-300)).tolist()
    return centred @ (axes[:2] * signs).T, shares
