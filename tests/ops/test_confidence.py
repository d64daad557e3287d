"""What is sure enough to be used."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun import ops


def test_the_surest_source_wins_and_ties_go_to_the_first() -> None:
    unsure, sure = (
        torch.tensor([[0.0, 0.5], [3.0, 0.0], [1.0, 0.0]]),
        torch.tensor([[0.0, 2.0], [1.0, 0.0], [0.0, 1.0]]),
    )
    assert ops.confidence_partition(unsure, sure).tolist() == [1, 0, 0]
    assert ops.supervised_confidence_partition(torch.tensor([0, 0, 1]), unsure, sure).tolist() == [0, 0, 1]
    chosen = ops.gather_source(torch.tensor([1, 0, 0]), unsure, sure)
    assert chosen.tolist() == [[0.0, 2.0], [3.0, 0.0], [1.0, 0.0]]


def _selected(*logits: Tensor, **options) -> Tensor:
    return ops.class_adaptive_confidence_select(*logits, generator=torch.Generator().manual_seed(0), **options)


def test_rare_classes_have_a_low_bar() -> None:
    """Three samples of class 0 (bar .95), one of class 1 (β = 1/3, bar .95/5 = .19): only the surest of the first stay."""
    logits = torch.tensor([[0.97, 0.02, 0.01], [0.90, 0.05, 0.05], [0.96, 0.02, 0.02], [0.30, 0.36, 0.34]]).log()
    assert _selected(logits, torch.zeros(4, 3), teacher_weight=0.0).tolist() == [0, 2, 3]
    assert _selected(torch.zeros(4, 3), logits, teacher_weight=1.0).tolist() == [0, 2, 3]
    lower = _selected(logits, logits, teacher_weight=0.5, cutoff=0.8)
    assert lower.tolist() == [0, 1, 2, 3]
