"""Weighted means and means of groups."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun import metrics
from kdrun.metrics import statistics


def test_weighted_and_group_means() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    assert statistics.weighted_mean(values, torch.tensor([0, 1, 3])) == 5.0
    assert statistics.group_means(values, torch.tensor([True, False, True])) == {"0": 2.0, "1": 3.5}
    assert statistics.minimum(values) == 1.0


def test_no_values_have_no_statistic() -> None:
    none = torch.zeros(0)
    of_rows = (statistics.mean_value, statistics.median, statistics.minimum, statistics.maximum)
    assert all(math.isnan(metric(none)) for metric in (*of_rows, statistics.standard_deviation))
    assert math.isnan(statistics.maximum([]))
    assert all(math.isnan(value) for value in statistics.rank_correlation(none, none).values())
    assert statistics.standard_deviation(torch.ones(1)) == 0.0


def test_the_median_of_more_values_than_quantile_takes() -> None:
    values = torch.arange(2**24 + 1).flip(0)
    assert statistics.median(values) == 2**23
    assert statistics.median(values[1:]) == pytest.approx(2**23 - 0.5)


def test_a_nan_is_never_passed_over() -> None:
    values = torch.tensor([1.0, math.nan, 3.0])
    assert math.isnan(statistics.median(values))
    assert math.isnan(statistics.maximum([torch.ones(2), values]))


def test_forgetting_counts_from_the_best_that_a_task_ever_was() -> None:
    history = torch.tensor([[0.9, 0.2, 0.3], [0.5, 0.7, 0.3], [0.6, 0.8, 0.9]])
    assert metrics.forgetting(history) == pytest.approx(((0.9 - 0.6) + (0.7 - 0.8)) / 2)
    assert metrics.forgetting(history.flatten()) == metrics.forgetting(history)
    assert math.isnan(metrics.forgetting(torch.ones(1, 1)))
    with pytest.raises(ValueError, match="a square of accuracies, got 6"):
        metrics.forgetting(torch.ones(2, 3))


def test_a_mean_is_over_all_elements_of_all_tensors() -> None:
    assert metrics.mean_value([torch.tensor([1.0, 2.0]), torch.tensor(6.0)]) == 3.0
    assert math.isnan(metrics.mean_value([]))


def test_the_incremental_average_weighs_each_step_alike() -> None:
    history = torch.tensor([[0.9, 0.2, 0.3], [0.5, 0.7, 0.3], [0.6, 0.8, 0.9]])
    assert metrics.incremental_average(history) == pytest.approx((0.9 + 1.2 / 2 + 2.3 / 3) / 3)
    future = history.clone()
    future[0, 1:] = future[1, 2] = 5.0  # tasks that are not learned yet do not count
    assert metrics.incremental_average(future.flatten()) == metrics.incremental_average(history)
    with pytest.raises(ValueError, match="a square of accuracies"):
        metrics.incremental_average(torch.ones(3))


def test_forward_transfer_leaves_the_first_task_out() -> None:
    assert metrics.forward_transfer(torch.tensor([1.0, 0.25, 0.75])) == 0.5
    assert math.isnan(metrics.forward_transfer(torch.ones(1)))
