"""Parts of the ``solve`` stage that fit performance to mixtures and distances."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.ops.scaling import mixture_terms
from kdrun.registry import solve

__all__ = ["pseudo_quadratic_ot_fit"]


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
    ``permute`` deals the distances out to wrong cells: a control. Fields: ``coefficients`` [terms], the intercept
    last; ``predictions`` [cells]; ``held_out`` [cells] (bool), the cells not fitted. Raises ``InputError`` if a cell is
    off the simplex or fewer cells are fitted than there are terms (of independent ones).
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
