"""Metrics that compare two models."""

from __future__ import annotations

import math

import torch

from kdrun.metrics import comparison


def logits(*right: bool) -> torch.Tensor:
    """Two classes, label 0: right where asked."""
    return torch.tensor([[1.0, 0.0] if r else [0.0, 1.0] for r in right])


def test_flips_and_gains() -> None:
    label = torch.zeros(4, dtype=torch.int64)
    teacher, before = logits(True, True, False, True), logits(False, True, True, False)
    after = logits(True, True, True, False)
    assert comparison.positive_flips(teacher, before, label) == 0.5
    assert comparison.negative_flips(teacher, before, label) == 0.25
    assert comparison.accuracy_gain(after, before, label) == 0.25
    assert comparison.flip_transfer(after, teacher, before, label) == 0.5
    assert math.isnan(comparison.flip_transfer(after, before, before, label))
    assert comparison.least_complement(torch.stack([teacher, before], 1), label) == 0.25
