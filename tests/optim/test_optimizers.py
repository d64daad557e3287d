"""Optimizers of torch by name."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.optim.optimizers import projected_sign_descent, torch_optimizer


def test_any_torch_optimizer_by_name() -> None:
    assert isinstance(torch_optimizer([torch.zeros(1)], name="Adagrad", lr=0.1), torch.optim.Adagrad)
    with pytest.raises(InputError, match="no optimizer 'Adagard' \\(did you mean 'Adagrad'\\?\\)"):
        torch_optimizer([torch.zeros(1)], name="Adagard", lr=0.1)
    with pytest.raises(InputError, match="optimizer SGD: "):
        torch_optimizer([torch.zeros(1)], name="SGD", lr=0.1, options={"momentun": 0.9})


def test_signed_steps_reach_the_corner_of_the_box_that_a_linear_loss_asks_for_and_stay_in_it() -> None:
    slope = torch.tensor([3.0, -0.01, 0.0])
    point = torch.zeros(3, requires_grad=True)
    found = projected_sign_descent([point], lr=0.1, bound=0.25)
    for step in range(5):
        found.zero_grad()
        (point * slope).sum().backward()
        found.step()
        expected = min(0.1 * (step + 1), 0.25)
        assert point.tolist() == pytest.approx([-expected, expected, 0.0])


def test_where_nothing_is_asked_nothing_moves() -> None:
    point = torch.tensor([0.1], requires_grad=True)
    projected_sign_descent([point], lr=0.1, bound=0.25).step()
    assert point.item() == pytest.approx(0.1)
