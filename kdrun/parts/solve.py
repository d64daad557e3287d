"""Parts of the ``solve`` stage: closed forms over the rows of a data set."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.ops.indexing import one_hot
from kdrun.ops.regression import recursive_ridge_downdate, recursive_ridge_update, ridge_solution
from kdrun.registry import solve
from kdrun.runtime.context import Context
from kdrun.types import Positive

__all__ = ["recursive_ridge", "ridge"]


@solve(fields=("inverse", "weight", "learned"), random=False)
def recursive_ridge(
    state: dict[str, Tensor], data: Dataset, *, column: str = "feature", remove: bool = False, context: Context
) -> dict[str, Tensor]:
    """Learn the rows of ``data`` into a ridge classifier, or ``remove`` them again, exactly (float64).

    Reads ``column`` [rows, features] and ``label`` (one-hot targets); ``state`` is as ``empty_ridge`` gives it. Raises
    ``InputError`` if a row is learnt twice, or removed without having been learnt.
    """
    device = context.device
    rows = data.rows()
    before, index = state["learned"], rows["index"]
    known = torch.isin(index, before)
    if known.any() and not remove:
        raise InputError(f"{int(known.sum())} of these rows are learnt already", key=context.config_key)
    if remove and not known.all():
        raise InputError(
            f"{int((~known).sum())} of these rows were never learnt, or are forgotten already", key=context.config_key
        )
    widths = [int(rows["label"].max()) + 1, state["weight"].shape[1]]
    target = one_hot(rows["label"], classes=max(widths)).double()
    given = (state["inverse"], state["weight"], rows[column], target)
    change = recursive_ridge_downdate if remove else recursive_ridge_update
    inverse, weight = change(*(tensor.to(device) for tensor in given))
    learned = before[~torch.isin(before, index)] if remove else torch.cat([before, index])
    return {"inverse": inverse, "weight": weight, "learned": learned}


@solve(random=False)
def ridge(data: Dataset, *, column: str = "feature", ridge: Positive = 1.0, context: Context) -> Tensor:
    """The ridge classifier of ``column`` [rows, features] on one-hot labels, at once: [features, classes], float64."""
    rows = data.rows()
    target = one_hot(rows["label"], classes=data.info.classes or int(rows["label"].max()) + 1)
    return ridge_solution(rows[column].to(context.device), target.to(context.device), ridge=ridge)
