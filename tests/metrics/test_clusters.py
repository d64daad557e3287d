"""Clusters and classes under their best matching."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from kdrun.metrics.clusters import discovery_accuracy, hungarian_accuracy
from support.tensors import generator

LABEL = torch.randint(4, (60,), generator=generator())


def test_any_renaming_of_the_classes_is_right() -> None:
    renamed = torch.tensor([17, 3, 0, 8])[LABEL]
    assert hungarian_accuracy(renamed, LABEL) == 1.0
    assert hungarian_accuracy(renamed, LABEL + 100) == 1.0


@pytest.mark.parametrize("clusters", [3, 4, 6])
def test_no_other_matching_is_better(clusters: int) -> None:
    found = torch.randint(clusters, (60,), generator=generator(1))
    size = max(clusters, 4)
    best = max(
        sum(((found == c) & (order[c] == LABEL)).sum().item() for c in range(clusters))
        for order in itertools.permutations(range(size))
    )
    assert hungarian_accuracy(found, LABEL) == pytest.approx(best / 60)


def test_rows_in_no_cluster_are_wrong_and_without_rows_nothing_is_known() -> None:
    some = torch.where(torch.arange(60) < 15, -1, LABEL)
    assert hungarian_accuracy(some, LABEL) == pytest.approx(0.75)
    assert math.isnan(hungarian_accuracy(LABEL[:0], LABEL[:0]))


def test_several_heads_count_on_average_or_the_one_of_the_lowest_loss() -> None:
    heads = torch.stack([LABEL, torch.zeros(60, dtype=torch.int64)], dim=1)
    worst = hungarian_accuracy(heads[:, 1], LABEL)
    assert hungarian_accuracy(heads, LABEL) == pytest.approx((1 + worst) / 2)
    losses = torch.tensor([[5.0, 0.5], [3.0, 3.0]])
    assert hungarian_accuracy(heads, LABEL, losses) == 1.0
    assert hungarian_accuracy(heads, LABEL, losses.flip(0)) == worst


def test_known_classes_keep_their_names_and_take_no_part_in_the_matching() -> None:
    label = torch.tensor([0, 1, 2, 2, 3, 3])
    swapped = torch.tensor([1, 0, 3, 3, 2, 2])
    assert discovery_accuracy(swapped, label, known=2) == {"known": 0.0, "novel": 1.0, "all": pytest.approx(4 / 6)}
    called_known = torch.tensor([0, 1, 0, 0, 2, 2])
    assert discovery_accuracy(called_known, label, known=2) == {"known": 1.0, "novel": 0.5, "all": pytest.approx(4 / 6)}
