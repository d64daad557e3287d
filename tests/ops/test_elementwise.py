"""Functions of single numbers."""

from __future__ import annotations

import torch

from kdrun import ops


def test_above_the_cap_there_is_no_gradient() -> None:
    value = torch.tensor([1.0, 5.0], requires_grad=True)
    ops.capped(value, cap=2.0).sum().backward()
    assert value.grad.tolist() == [1.0, 0.0]
