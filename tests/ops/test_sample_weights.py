"""Weights of samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kdrun import ops
from support.tensors import rows


def test_disagreement_weights_start_at_a_half_and_carry_no_gradient() -> None:
    logits = rows(2, 3).requires_grad_()
    same = ops.disagreement_weights(logits, logits.detach(), eps=0.0)
    assert same.tolist() == [0.5, 0.5]
    assert not same.requires_grad
    apart = ops.disagreement_weights(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]), eps=0.0)
    assert apart.item() == pytest.approx(1 / (1 + math.exp(-5)))


def test_teacher_margin_and_token_temperature() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]).log()
    np.testing.assert_allclose(ops.teacher_margin(logits, torch.tensor([0, 2])), [0.6 - 0.2, 0.0], atol=1e-6)
    assert ops.token_temperature(torch.tensor([0.0, 0.5, 1.0]), lowest=2.0, highest=10.0).tolist() == [2.0, 6.0, 10.0]


def test_trilateral_columns() -> None:
    s, t = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.5, 0.5]]), torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    labels = torch.tensor([0, 1, 0])
    found = ops.trilateral_relation_features(s, t, labels)
    mean = [0.8, 0.2]
    first = [0.7, 0.3, 0.9, 0.1, 1.0, 0.0, *mean, 0.01, 0.01, 0.09, 0.09, 0.04, 0.04, 0.01, 0.01, 0.04, 0.04]
    np.testing.assert_allclose(found[0], first, atol=1e-6)
    onehot = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    means = torch.tensor([[0.8, 0.2], [0.2, 0.8]])
    torch.testing.assert_close(ops.trilateral_relation_features(s, t, onehot, means), found)
    assert ops.trilateral_relation_features(s, t, labels, terms="vertices").shape == (3, 8)
    assert ops.trilateral_relation_features(s, t, labels, terms="edges").shape == (3, 10)
    assert ops.trilateral_relation_features(s, t, labels, inter_sample=False).shape == (3, 12)
