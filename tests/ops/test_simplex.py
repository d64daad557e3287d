"""The simplex: projections, grids and choices."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.ops.simplex import best_mixture, random_cells, share_below, simplex_cells, simplex_grid, simplex_projection


def test_projection_is_the_nearest_point() -> None:
    generator = torch.Generator().manual_seed(0)
    values = 2 * torch.randn(20, 4, generator=generator)
    found = simplex_projection(values)
    assert torch.allclose(found.sum(1), torch.ones(20))
    assert (found >= 0).all()
    # the optimality condition: no point of the simplex lies further along the way out
    corners = torch.eye(4)
    outward = ((values - found)[:, None] * (corners[None] - found[:, None])).sum(-1)
    assert (outward < 1e-5).all()
    assert torch.allclose(simplex_projection(found), found, atol=1e-6)
    assert simplex_projection(torch.tensor([5.0, 0.0, 0.0])).tolist() == [1, 0, 0]
    assert torch.allclose(simplex_projection(values + 3), found, atol=1e-5)


def test_the_grid_has_every_cell_once() -> None:
    grid = simplex_grid(sources=3, step=0.1)
    assert grid.shape == (66, 3)
    assert torch.allclose(grid.sum(1), torch.ones(66))
    assert len({tuple(c) for c in (grid * 10).round().tolist()}) == 66
    assert simplex_grid(sources=2, step=0.5).tolist() == [[0, 1], [0.5, 0.5], [1, 0]]
    assert torch.equal(torch.stack(list(simplex_cells(sources=3, step=0.1).values())), grid)
    with pytest.raises(InputError, match="divides 1"):
        simplex_grid(sources=3, step=0.3)


def test_cells_are_told_apart_and_chosen() -> None:
    grid = simplex_grid(sources=3, step=0.1)
    assert int(share_below(grid, source=1, share=0.5).sum()) == 11 + 10 + 9 + 8 + 7
    scores = -(grid - torch.tensor([0.2, 0.5, 0.3])).square().sum(1)
    assert torch.allclose(best_mixture(grid, scores), torch.tensor([0.2, 0.5, 0.3]))
    assert best_mixture(grid, scores, pure=True).tolist() == [0, 1, 0]
    masks = [random_cells(grid, share=0.5, generator=torch.Generator().manual_seed(i)) for i in (0, 0, 1)]
    assert int(masks[0].sum()) == 33
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
