"""Linear least squares: ridge classifiers, and performance as a function of mixtures."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.ops.indexing import one_hot
from kdrun.ops.regression import recursive_ridge_downdate, recursive_ridge_update, ridge_solution
from kdrun.ops.scaling import mixture_terms
from kdrun.registry import solve
from kdrun.runtime.context import Context
from kdrun.types import Positive

__all__ = ["pseudo_quadratic_ot_fit", "recursive_ridge", "ridge"]


@solve(fields=("inverse", "weight", "learned"), random=False)
def recursive_ridge(
    state: dict[str, Tensor], data: Dataset, *, column: str = "feature", remove: bool = False, context: Context
) -> dict[str, Tensor]:
    """Learn the rows of ``data`` into a ridge classifier, or ``remove`` them again, exactly (float64).

    ``state`` has ``inverse`` [features, features], that of ``XᵀX + ridge · I`` over all rows learnt, ``weight`` [features,
    classes] and ``learned`` [rows learnt] (int64), their numbers, as ``empty_ridge`` gives it first; the result is of the same
    form, by the Woodbury identity. Reads ``column`` [rows, features] and ``label`` [rows] (one-hot targets). Raises
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
    """The ridge classifier of ``column`` on one-hot labels, at once: [features, classes], float64.

    ``(XᵀX + ridge · I)⁻¹ XᵀY`` for ``X`` [rows, features] and ``Y`` one-hot of ``label`` [rows] (Hoerl & Kennard, 1970).
    """
    rows = data.rows()
    target = one_hot(rows["label"], classes=data.info.classes or int(rows["label"].max()) + 1)
    return ridge_solution(rows[column].to(context.device), target.to(context.device), ridge=ridge)


@solve(fields=("coefficients", "predictions", "held_out"))
def pseudo_quadratic_ot_fit(
    proportions: Tensor,
    distance: Tensor,
    performance: Tensor,
    train: Tensor | None = None,
    *,
    form: Literal["reduced", "general", "linear", "quadratic", "distance"] = "reduced",
    permute: bool = False,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Least squares of performance on mixtures at one size (Kang et al., 2023).

    ``proportions`` [cells, sources], ``distance`` and ``performance`` [cells], ``train`` [cells] (bool): the cells that
    are fitted, all by default. ``form`` is that of ``mixture_terms``; dependent terms get the solution of least norm.
    ``permute`` deals the distances out to wrong cells: a control. Fields: ``coefficients`` [terms] (float64), the intercept
    last; ``predictions`` [cells] (float32); ``held_out`` [cells] (bool), the cells not fitted. Raises ``InputError`` if a cell is
    off the simplex or fewer cells are fitted than there are terms (of independent ones).

    >>> cells, distance = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]), torch.tensor([1.0, 2.0, 4.0])
    >>> options = {"form": "distance", "generator": torch.Generator()}
    >>> parts.pseudo_quadratic_ot_fit(cells, distance, 0.9 - 0.1 * distance, **options)["coefficients"]
    tensor([-0.1000,  0.9000], dtype=torch.float64)
    """
    if not torch.allclose(proportions.sum(1), torch.ones(len(proportions)).to(proportions), atol=1e-4):
        raise InputError("a cell's proportions sum to 1; leave infeasible cells out")
    if permute:
        distance = distance[torch.randperm(len(distance), generator=generator)]
    kept = torch.ones(len(proportions), dtype=torch.bool) if train is None else train.bool()
    terms = mixture_terms(proportions.double(), distance.double(), form=form)
    if form != "general" and int(kept.sum()) < terms.shape[1]:
        raise InputError(f"{int(kept.sum())} cells do not determine the {terms.shape[1]} coefficients of '{form}'")
    coefficients = torch.linalg.lstsq(terms[kept], performance.double()[kept, None], driver="gelsd").solution[:, 0]
    return {
        "coefficients": coefficients,
        "predictions": (terms @ coefficients).float(),
        "held_out": ~kept,
    }
