"""Points of the probability simplex: proportions of sources, not negative and summing to 1."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from kdrun.errors import InputError
from kdrun.registry import op, shape_of
from kdrun.types import Count, Fraction, Unsigned

__all__ = ["best_mixture", "random_cells", "share_below", "simplex_cells", "simplex_grid", "simplex_projection"]


@op
def simplex_projection(values: Tensor) -> Tensor:
    """The nearest point of the simplex to each row, in Euclidean distance, by sorting (Duchi et al., 2008).

    ``values`` [..., m]; the result has that shape, is not negative, and sums to 1 over the last axis.

    >>> ops.simplex_projection(torch.tensor([[0.5, 0.5], [2.0, 0.0], [0.6, 0.8]]))
    tensor([[0.5000, 0.5000],
            [1.0000, 0.0000],
            [0.4000, 0.6000]])
    """
    ordered = values.sort(dim=-1, descending=True).values
    count = torch.arange(1, values.shape[-1] + 1, device=values.device)
    excess = (ordered.cumsum(-1) - 1) / count
    kept = (ordered > excess).sum(-1, keepdim=True).clamp_min(1)
    return (values - excess.gather(-1, kept - 1)).clamp_min(0)


@op
def simplex_grid(*, sources: Count, step: Fraction = 0.1) -> Tensor:
    """All proportions of ``sources`` that are multiples of ``step``: [cells, sources] (float32), in lexicographic order.

    There are ``C(k + m - 1, m - 1)`` for k = 1 / step: 66 for three sources in tenths. Raises ``InputError`` if 1 is no
    multiple of the step.

    >>> ops.simplex_grid(sources=2, step=0.5)
    tensor([[0.0000, 1.0000],
            [0.5000, 0.5000],
            [1.0000, 0.0000]])
    """
    parts = round(1 / step) if step else 0
    if parts < 1 or abs(parts * step - 1) > 1e-6:
        raise InputError(f"a grid over the simplex needs a step that divides 1, got {step}")
    cells = [c for c in itertools.product(range(parts + 1), repeat=sources - 1) if sum(c) <= parts]
    return torch.tensor([[*c, parts - sum(c)] for c in cells], dtype=torch.float32) / parts


@op
def simplex_cells(*, sources: Count, step: Fraction = 0.1) -> dict[str, Tensor]:
    """The rows of ``simplex_grid`` one by one, named 0, 1, …: what a loop takes a cell at a time from.

    Each is [sources] (float32). Raises ``InputError`` if 1 is no multiple of the step.

    >>> ops.simplex_cells(sources=2, step=1.0)
    {'0': tensor([0., 1.]), '1': tensor([1., 0.])}
    """
    return {str(i): cell for i, cell in enumerate(simplex_grid(sources=sources, step=step).unbind())}


@op
def share_below(proportions: Tensor, *, source: Unsigned, share: Fraction) -> Tensor:
    """Which cells give a source less than this share: bool [cells] of ``proportions`` [cells, sources].

    >>> ops.share_below(torch.tensor([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]), source=0, share=0.5)
    tensor([ True, False, False])
    """
    return proportions[:, source] < share - 1e-6


@op
def random_cells(proportions: Tensor, *, share: Fraction, generator: torch.Generator) -> Tensor:
    """A random ``share`` of the cells, rounded: bool [cells] of ``proportions`` [cells, sources].

    >>> chosen = ops.random_cells(torch.zeros(10, 3), share=0.25, generator=torch.Generator().manual_seed(0))
    >>> chosen.shape, chosen.sum()
    (torch.Size([10]), tensor(2))
    """
    chosen = torch.randperm(len(proportions), generator=generator)[: round(share * len(proportions))]
    mask = torch.zeros(len(proportions), dtype=torch.bool)
    mask[chosen] = True
    return mask


@op
def best_mixture(proportions: Tensor, scores: Tensor, *, pure: bool = False) -> Tensor:
    """The cell with the highest score, the first of equal ones: [sources] of ``proportions`` [cells, sources].

    ``scores`` [cells]. ``pure`` looks only at cells of a single source. Raises ``ValueError`` if there is none.

    >>> proportions, scores = torch.tensor([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]), torch.tensor([0.6, 0.8, 0.7])
    >>> ops.best_mixture(proportions, scores), ops.best_mixture(proportions, scores, pure=True)
    (tensor([0.5000, 0.5000]), tensor([1., 0.]))
    """
    if pure:
        alone = proportions.amax(1) > 1 - 1e-6
        if not alone.any():
            raise ValueError("none of the cells holds a single source")
        scores = scores.masked_fill(~alone, -torch.inf)
    return proportions[scores.argmax()]


@shape_of("op", "best_mixture")
def _first_cell(proportions: Tensor, scores: Tensor, *, pure: bool = False) -> Tensor:
    return proportions[0]
