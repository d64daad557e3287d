"""Points of the probability simplex: proportions of sources, not negative and summing to 1."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.registry import op
from kdrun.types import Count, Fraction, Unsigned

__all__ = ["best_mixture", "random_cells", "share_below", "simplex_cells", "simplex_grid", "simplex_projection"]


@op
def simplex_projection(values: Tensor) -> Tensor:
    """The nearest point of the simplex to each row [..., m], in Euclidean distance, by sorting (Duchi et al., 2008)."""
    ordered = values.sort(dim=-1, descending=True).values
    count = torch.arange(1, values.shape[-1] + 1, device=values.device)
    excess = (ordered.cumsum(-1) - 1) / count
    kept = (ordered > excess).sum(-1, keepdim=True).clamp_min(1)
    return (values - excess.gather(-1, kept - 1)).clamp_min(0)


@op
def simplex_grid(*, sources: Count, step: Fraction = 0.1) -> Tensor:
    """All proportions of ``sources`` that are multiples of ``step``: [cells, sources], in lexicographic order.

    There are ``C(k + m - 1, m - 1)`` for k = 1 / step: 66 for three sources in tenths. Raises ``InputError`` if 1 is
    no multiple of the step.
    """
    parts = round(1 / step) if step else 0
    if parts < 1 or abs(parts * step - 1) > 1e-6:
        raise InputError(f"a grid over the simplex needs a step that divides 1, got {step}")
    cells = [c for c in itertools.product(range(parts + 1), repeat=sources - 1) if sum(c) <= parts]
    return torch.tensor([[*c, parts - sum(c)] for c in cells], dtype=torch.float32) / parts


@op
def simplex_cells(*, sources: Count, step: Fraction = 0.1) -> dict[str, Tensor]:
    """The rows of ``simplex_grid`` one by one, named 0, 1, …: what a loop takes a cell at a time from."""
    return {str(i): cell for i, cell in enumerate(simplex_grid(sources=sources, step=step).unbind())}


@op
def share_below(proportions: Tensor, *, source: Unsigned, share: Fraction) -> Tensor:
    """Which cells [cells, sources] give a source less than this share: bool [cells]."""
    return proportions[:, source] < share - 1e-6


@op
def random_cells(proportions: Tensor, *, share: Fraction, generator: torch.Generator) -> Tensor:
    """A random ``share`` of the cells [cells, sources], rounded: bool [cells]."""
    chosen = torch.randperm(len(proportions), generator=generator)[: round(share * len(proportions))]
    mask = torch.zeros(len(proportions), dtype=torch.bool)
    mask[chosen] = True
    return mask


@op
def best_mixture(proportions: Tensor, scores: Tensor, *, pure: bool = False) -> Tensor:
    """The cell [sources] of ``proportions`` [cells, sources] with the highest score [cells], the first of equal ones.

    ``pure`` looks only at cells of a single source. Raises ``ValueError`` if there is none.
    """
    if pure:
        alone = proportions.amax(1) > 1 - 1e-6
        if not alone.any():
            raise ValueError("none of the cells holds a single source")
        scores = scores.masked_fill(~alone, -torch.inf)
    return proportions[scores.argmax()]
