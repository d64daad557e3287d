"""How well a choice of sources agrees with a known surface."""

from __future__ import annotations

import math

import torch

from kdrun.metrics.selection import gradient_agreement, selection_regret
from kdrun.ops.simplex import simplex_grid


def test_agreement_on_a_known_surface() -> None:
    grid = simplex_grid(sources=3, step=0.1)
    values = grid @ torch.tensor([1.0, 2.0, 4.0])
    slopes = torch.stack([(v - values) / (1 - grid[:, i]).clamp_min(1e-9) for i, v in enumerate([1.0, 2.0, 4.0])], 1)
    assert gradient_agreement(slopes, grid, values) == 1.0
    assert math.isnan(gradient_agreement(slopes[:1], grid[:1], values[:1]))
    assert selection_regret(torch.tensor([0.5, 0.75]), torch.tensor([0.5])) == 0.25
