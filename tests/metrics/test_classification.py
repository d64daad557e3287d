"""Metrics of classes against torchmetrics."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.errors import InputError
from kdrun.metrics.classification import mean_absolute_error


def test_metrics_agree_with_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_accuracy

    from kdrun.metrics import classification as m

    torch.manual_seed(0)
    logits, label = torch.randn(50, 4), torch.randint(0, 4, (50,))
    for top in (1, 2):
        expected = multiclass_accuracy(logits, label, 4, average="micro", top_k=top).item()
        assert m.accuracy(logits, label, top=top) == pytest.approx(expected)
    uniform = torch.zeros(50, 4)
    assert m.nll(uniform, label) == pytest.approx(math.log(4))
    assert m.brier_score(uniform, label) == pytest.approx(0.75)
    assert m.calibration_error(100 * torch.nn.functional.one_hot(label, 4).float(), label) == pytest.approx(
        0.0, abs=1e-6
    )
    assert m.f1_score(logits, logits.argmax(-1)) == pytest.approx(1.0)
    assert m.auroc(logits * 0 + torch.nn.functional.one_hot(label, 4), label) == pytest.approx(1.0)
    assert m.agreement(logits, logits + 3) == 1.0
    kappa = m.torchmetrics(logits, logits.argmax(-1), function="cohen_kappa")
    assert kappa == pytest.approx(1.0)
    with pytest.raises(InputError, match="no multiclass metric 'cohen_kapa' \\(did you mean 'cohen_kappa'"):
        m.torchmetrics(logits, label, function="cohen_kapa")
    target = torch.arange(5.0)
    assert m.mean_absolute_error(target + 2, target) == pytest.approx(2.0)
    assert m.root_mean_squared_error(
        target[:, None] + torch.tensor([[1.0], [-1.0], [1.0], [-1.0], [1.0]]), target
    ) == pytest.approx(1.0)
    statistics = m.embedding_statistics(torch.tensor([[3.0, 4.0]]), torch.tensor([0]), torch.tensor([[0.0, 2.0]]))
    assert statistics == pytest.approx({"feature_norm": 5.0, "feature_cosine": 0.8})


def test_errors_over_the_cells_of_a_mask() -> None:
    mask = torch.tensor([True, False, True])
    assert mean_absolute_error(torch.tensor([1.0, 9.0, 2.0]), torch.tensor([0.0, 0.0, 0.0]), mask) == 1.5
