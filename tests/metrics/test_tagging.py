"""Metrics of mentions in tagged text."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.metrics.tagging import between_group_cosine, confusion_rate, entity_f1


def test_entity_f1_counts_whole_mentions() -> None:
    pytest.importorskip("seqeval")
    tags = torch.tensor([[1, 2, 0, 3, -100], [0, 1, 0, 0, 0]])
    assert entity_f1(tags, tags)["entity_f1"] == 1
    found = torch.tensor([[1, 0, 0, 3, 1], [0, 2, 0, 7, 8]])  # cut short; right; at padding; stray; of a further type
    scores = entity_f1(found, tags, types=2)
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["recall"] == pytest.approx(2 / 3)
    assert entity_f1(found, tags)["precision"] == pytest.approx(2 / 4)
    assert entity_f1(torch.zeros_like(tags), tags)["entity_f1"] == 0


def test_confusion_counts_mentions_not_words() -> None:
    foreign = torch.tensor([[1, 2, 2, 0, 1], [3, 0, 0, 1, -100]])
    found = torch.tensor([[0, 1, 2, 1, 0], [9, 1, 0, 0, 0]])
    assert confusion_rate(found, foreign) == pytest.approx(2 / 4)
    assert confusion_rate(found, foreign, types=4) == pytest.approx(1 / 4)


def test_cosine_between_groups_is_the_mean_over_pairs() -> None:
    features, groups = torch.randn(7, 3), torch.tensor([0, 1, 1, 0, 1, 0, 1])
    pairs = torch.nn.functional.cosine_similarity(features[groups == 0][:, None], features[groups == 1][None], dim=2)
    assert between_group_cosine(features, groups) == pytest.approx(pairs.mean().item(), abs=1e-6)
    assert math.isnan(between_group_cosine(features, torch.zeros(7)))
