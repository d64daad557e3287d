"""Scaling in size and mixture: the laws are exact on their own curves, the slope on its own surface."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.ops.scaling import log_scale_projection, mixture_terms, power_law_projection, pseudo_quadratic_gradient
from support.tensors import generator

SIZES = {"first_size": 100.0, "second_size": 160.0}


def test_projection_is_exact_on_log_curves_and_not_on_linear_ones() -> None:
    def curve(n: float) -> torch.Tensor:
        return torch.tensor([0.2, 0.5]) + torch.tensor([0.1, -0.03]) * torch.tensor(n).log()

    for n in (100.0, 160.0, 800.0, 10.0):
        found = log_scale_projection(curve(100), curve(160), size=n, **SIZES)
        assert torch.allclose(found, curve(n), atol=1e-5)
    line = log_scale_projection(torch.tensor(100.0), torch.tensor(160.0), size=800.0, **SIZES)
    assert line < 400
    with pytest.raises(InputError, match="two sizes"):
        log_scale_projection(line, line, size=800.0, first_size=100.0, second_size=100.0)


def test_power_laws_are_continued() -> None:
    def accuracy(n: float) -> torch.Tensor:
        return torch.tensor(1 - 3.0 * n**-0.4)

    found = power_law_projection(accuracy(100), accuracy(160), size=800.0, **SIZES)
    assert torch.isclose(found, accuracy(800), atol=1e-5)


def test_terms_stand_in_the_order_of_the_paper() -> None:
    p, d = torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([10.0])
    expected = torch.tensor([[10.0, 0.2, 0.3, 2.0, 3.0, 0.9, 0.4, 1.0]])
    assert torch.allclose(mixture_terms(p, d), expected)
    b1, b2, c1, c2, b0 = *torch.randn(4, 3, generator=generator()), torch.tensor(0.7)
    sums = ((b2 * p[0] ** 2 + b1 * p[0] + b0) * d).sum() + (c2 * p[0] ** 2 + c1 * p[0]).sum() - 0.2
    every = torch.cat([b0[None], b1, b2, c1, c2, torch.tensor([-0.2])])
    assert torch.isclose(mixture_terms(p, d, form="general")[0] @ every, sums, rtol=1e-4)
    assert mixture_terms(p, d, form="distance").tolist() == [[10.0, 1.0]]


@pytest.mark.parametrize("form", ["reduced", "general"])
def test_the_slope_of_one_sources_bracket(form: str) -> None:
    """With one source's coefficients alone and a distance linear in its share, the slope is the plain derivative."""
    m, base, tilt = 3, 6.0, -2.0
    count = 8 if form == "reduced" else 14
    coefficients = torch.zeros(count, dtype=torch.float64)
    named = {"reduced": {"c1": 2, "b1": 4, "b2": 5}, "general": {"b1": 2, "b2": 5, "c1": 8, "c2": 11}}[form]
    for i, index in enumerate([0, *named.values()]):
        coefficients[index] = 0.3 * (i + 1)

    def value(share: torch.Tensor) -> torch.Tensor:
        p = torch.stack([torch.zeros_like(share), share, torch.zeros_like(share)])[None]
        other = (m - 1) * coefficients[0] * (base + tilt * share) if form == "general" else 0  # brackets of the others
        return (mixture_terms(p, (base + tilt * share)[None], form=form) @ coefficients)[0] - other

    share = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(value(share), share)
    p = torch.tensor([0.3, 0.4, 0.3], dtype=torch.float64)
    moved = torch.tensor([0.0, tilt, 0.0], dtype=torch.float64)
    found = pseudo_quadratic_gradient(coefficients, p, torch.tensor(base + tilt * 0.4), moved, form=form)
    assert found.shape == (m,)
    assert torch.isclose(found[1], expected)
    assert torch.allclose(found[[0, 2]], torch.zeros(2, dtype=torch.float64))
