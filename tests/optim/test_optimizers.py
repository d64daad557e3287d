"""Optimizers of torch by name."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.optim.optimizers import torch_optimizer


def test_any_torch_optimizer_by_name() -> None:
    assert isinstance(torch_optimizer([torch.zeros(1)], name="Adagrad", lr=0.1), torch.optim.Adagrad)
    with pytest.raises(InputError, match="no optimizer 'Adagard' \\(did you mean 'Adagrad'\\?\\)"):
        torch_optimizer([torch.zeros(1)], name="Adagard", lr=0.1)
    with pytest.raises(InputError, match="optimizer SGD: "):
        torch_optimizer([torch.zeros(1)], name="SGD", lr=0.1, options={"momentun": 0.9})
