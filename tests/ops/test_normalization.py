"""Softmax, unit rows, standardised columns."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops
from kdrun.ops.normalization import standardize


def test_standardize_is_batch_norm_without_parameters() -> None:
    value = torch.randn(7, 3, dtype=torch.float64) * 4 + 2
    norm = torch.nn.BatchNorm1d(3, affine=False).double()
    assert torch.allclose(standardize(value), norm(value))


def test_softmax_takes_one_temperature_or_one_a_row() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    per_row = ops.softmax(logits, torch.tensor([1.0, 4.0]))
    torch.testing.assert_close(per_row[0], ops.softmax(logits)[0])
    torch.testing.assert_close(per_row[1], ops.softmax(logits, temperature=4.0)[1])
    torch.testing.assert_close(ops.log_softmax(logits, temperature=4.0).exp(), ops.softmax(logits, temperature=4.0))


def test_normalising_keeps_zero() -> None:
    value = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert ops.normalize(value).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert ops.normalize(value, order=1.0)[0].tolist() == pytest.approx([3 / 7, 4 / 7])
