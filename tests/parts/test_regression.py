"""Performance fitted to mixtures."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.ops.scaling import mixture_terms
from kdrun.ops.simplex import simplex_grid
from kdrun.parts.regression import pseudo_quadratic_ot_fit
from support.tensors import generator

GRID = simplex_grid(sources=3, step=0.1)


@pytest.mark.parametrize("form", ["reduced", "general", "linear", "quadratic", "distance"])
def test_the_fit_finds_what_made_the_numbers_even_outside_its_cells(form: str) -> None:
    distance = 5 + torch.rand(66, generator=generator())
    terms = mixture_terms(GRID, distance, form=form)
    truth = torch.randn(terms.shape[1], generator=generator())
    performance = terms @ truth
    train = GRID[:, 1] < 0.45
    found = pseudo_quadratic_ot_fit(GRID, distance, performance, train, form=form, generator=generator())
    assert torch.allclose(found["predictions"], performance, atol=1e-2)
    assert torch.equal(found["held_out"], ~train)
    if form != "general":  # its terms are dependent
        assert torch.allclose(found["coefficients"].float(), truth, atol=1e-2)
    if form == "distance":
        dealt = pseudo_quadratic_ot_fit(GRID, distance, performance, form=form, permute=True, generator=generator())
        assert (dealt["predictions"] - performance).abs().mean() > 0.1


def test_a_fit_refuses_too_few_cells_and_cells_off_the_simplex() -> None:
    distance = torch.ones(66)
    with pytest.raises(InputError, match="7 cells do not determine the 8"):
        pseudo_quadratic_ot_fit(GRID, distance, distance, torch.arange(66) < 7, generator=generator())
    with pytest.raises(InputError, match="infeasible"):
        pseudo_quadratic_ot_fit(GRID * 1.2, distance, distance, generator=generator())
