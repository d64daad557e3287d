"""How good a chosen mixture is, and whether slopes point where values go."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import metric

__all__ = ["element", "gradient_agreement", "selection_regret"]


@metric(best="lowest")
def selection_regret(accuracies: Tensor, chosen: Tensor) -> float:
    """The best accuracy among candidates less that of what was chosen; below 0 if it is better.

    ``accuracies`` [cells], ``chosen`` a single number.

    >>> round(metrics.selection_regret(torch.tensor([0.5, 0.75]), torch.tensor(0.5)), 4)
    0.25
    """
    return (accuracies.double().max() - chosen.double().mean()).item()


@metric
def element(values: Tensor, *, index: int) -> float:
    """One entry of the flattened values, which may have any shape; a negative ``index`` counts from the end.

    >>> metrics.element(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), index=2)
    3.0
    """
    return values.flatten()[index].item()


@metric
def gradient_agreement(gradient: Tensor, proportions: Tensor, values: Tensor, *, step: float = 0.1) -> float:
    """Share of points and directions in which a simplex gradient has the sign of the central difference of values.

    ``proportions`` [cells, m] are a grid with this ``step`` and ``values`` [cells] a function on it; ``gradient``
    [cells, m] says how it moves as one source's share grows and all others shrink in proportion. Looked at are all
    pairs of sources i < j at all cells where one step from j to i and one from i to j stay on the grid. From 0 to 1;
    NaN if there are none.

    >>> grid = ops.simplex_grid(sources=2, step=0.5)
    >>> values = grid[:, 0]  # more of the first source is better
    >>> metrics.gradient_agreement(torch.tensor([[1.0, -1.0]] * 3), grid, values, step=0.5)
    1.0
    """
    p, g = proportions.double(), gradient.double()
    place = {tuple(cell): k for k, cell in enumerate((p / step).round().long().tolist())}
    right: list[bool] = []
    for cell, k in place.items():
        for i in range(len(cell)):
            for j in range(i + 1, len(cell)):
                ahead, behind = (place.get(_moved(cell, i, j, by)) for by in (1, -1))
                if ahead is None or behind is None:
                    continue
                slope = (1 - p[k, i]) * g[k, i] - (1 - p[k, j]) * g[k, j]
                right.append(bool(torch.sign(slope) == torch.sign(values[ahead] - values[behind])))
    return sum(right) / len(right) if right else float("nan")


def _moved(cell: tuple[int, ...], i: int, j: int, by: int) -> tuple[int, ...]:
    moved = list(cell)
    moved[i] += by
    moved[j] -= by
    return tuple(moved)
