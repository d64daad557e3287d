"""Metrics of labels that hold side by side, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.metrics.multi_label import mean_average_precision, multi_label_f1, subset_accuracy
from kdrun.metrics.regression import r_squared


def by_hand(scores: list[float], holds: list[int]) -> float:
    """Average precision of rows without ties: the precision at each row of which the label holds, averaged."""
    order = sorted(range(len(scores)), key=lambda row: -scores[row])
    found = [sum(holds[row] for row in order[:n]) / n for n, row in enumerate(order, 1) if holds[row]]
    return sum(found) / len(found)


def test_average_precision_is_the_mean_of_precisions_where_the_label_holds() -> None:
    logits, label = torch.randn(30, 4), torch.randint(0, 2, (30, 4)).float()
    expected = [by_hand(logits[:, i].tolist(), label[:, i].int().tolist()) for i in range(4)]
    assert mean_average_precision(logits, label) == pytest.approx(sum(expected) / 4)
    assert mean_average_precision(label, label) == 1


def test_a_label_that_holds_nowhere_is_left_out_and_ties_rank_together() -> None:
    logits, label = torch.tensor([[1.0, 5.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert mean_average_precision(logits, label) == 0.5
    assert math.isnan(mean_average_precision(logits, torch.zeros(2, 2)))


def test_f1_by_label_and_of_all() -> None:
    logits = torch.tensor([[1.0, -1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, 1.0, -1.0]])
    label = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert multi_label_f1(logits, label) == pytest.approx(
        (2 / 4 + 2 / 3) / 2
    )  # the third label is neither held nor said
    assert multi_label_f1(logits, label, average="micro") == pytest.approx(4 / 7)
    assert multi_label_f1(logits, label, threshold=0.9) == 0
    assert subset_accuracy(logits, label) == pytest.approx(1 / 3)


def test_r_squared_is_that_of_scikit_learn_and_leaves_constants_out() -> None:
    from sklearn.metrics import r2_score

    said, target = torch.randn(2, 20, 3, dtype=torch.float64)
    assert r_squared(said, target) == pytest.approx(r2_score(target, said))
    target[:, 0] = 1.0
    assert r_squared(said, target) == pytest.approx(r2_score(target[:, 1:], said[:, 1:]))
    assert math.isnan(r_squared(said, torch.ones(20, 3)))
