"""Functions of single numbers."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops


def test_above_the_cap_there_is_no_gradient() -> None:
    value = torch.tensor([1.0, 5.0], requires_grad=True)
    ops.capped(value, cap=2.0).sum().backward()
    assert value.grad.tolist() == [1.0, 0.0]


def test_a_clamp_cuts_both_ends_and_passes_gradients_between_them() -> None:
    value = torch.tensor([-1.0, 0.3, 2.0], requires_grad=True)
    found = ops.clamp(value, lowest=-0.5, highest=1.0)
    assert found.tolist() == pytest.approx([-0.5, 0.3, 1.0])
    found.sum().backward()
    assert value.grad.tolist() == [0, 1, 0]
