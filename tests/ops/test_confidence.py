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


NOW = torch.tensor([[0.90, 0.08, 0.02], [0.85, 0.10, 0.05], [0.20, 0.75, 0.05], [0.10, 0.40, 0.50], [0.34, 0.33, 0.33]])
ALL = torch.ones(5, dtype=torch.bool)


def test_without_contrast_and_classes_the_least_margin_is_asked() -> None:
    score = ops.contrastive_margin(NOW, torch.rand(5, 3), ALL, contrast=0.0, class_weight=0.0)
    torch.testing.assert_close(score, ops.top_margin(NOW) / 0.82)
    assert score.argmin() == 4


def test_a_prediction_that_grew_surer_is_asked_later() -> None:
    before = NOW.clone()
    before[3] = torch.tensor([0.10, 0.50, 0.40])
    still, moved = (ops.contrastive_margin(NOW, b, ALL, contrast=0.5, class_weight=0.0) for b in (NOW, before))
    torch.testing.assert_close(moved[3] - still[3], torch.tensor(0.5 * 0.2 / 0.82))
    assert torch.equal(moved[[0, 1, 2, 4]], still[[0, 1, 2, 4]])


def test_classes_well_known_among_the_surest_free_rows_are_asked_later() -> None:
    plain = ops.contrastive_margin(NOW, NOW, ALL, class_weight=0.0)
    weighed = ops.contrastive_margin(NOW, NOW, ALL, class_weight=0.1, confident=3)
    torch.testing.assert_close(weighed - plain, 0.1 * torch.tensor([1.0, 1.0, 0.5, 0.0, 1.0]))
    free = torch.tensor([False, True, True, True, True])
    fewer = ops.contrastive_margin(NOW, NOW, free, class_weight=0.1, confident=2)
    assert fewer[0] == torch.inf
    margins = ops.top_margin(NOW)[1:] / 0.75
    torch.testing.assert_close(fewer[1:], margins + 0.1 * torch.tensor([1.0, 1.0, 0.0, 1.0]))
    alone = ops.contrastive_margin(NOW, NOW, torch.tensor([False, False, False, False, True]), confident=5)
    assert alone.isinf().tolist() == [True, True, True, True, False]
