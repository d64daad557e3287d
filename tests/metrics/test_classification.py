"""Metrics of classes against torchmetrics."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.errors import InputError
from kdrun.metrics import classification as m
from kdrun.metrics.classification import mean_absolute_error


def test_metrics_agree_with_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_accuracy

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
    with pytest.raises(InputError, match="metric f1_score: "):
        m.torchmetrics(logits, label, function="f1_score", options={"average": None})
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


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_auroc_agrees_with_torchmetrics_where_all_classes_occur(average: str) -> None:
    from torchmetrics.functional.classification import multiclass_auroc

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 4, generator=generator)
    label = torch.multinomial(torch.tensor([0.5, 0.3, 0.1, 0.1]), 200, replacement=True, generator=generator)
    expected = multiclass_auroc(logits.double().softmax(1), label, 4, average=average).item()
    assert m.auroc(logits, label, average=average) == pytest.approx(expected, abs=1e-6)
    tied, label = (4 * logits[:, :2]).round(), label % 2
    expected = multiclass_auroc(tied.double().softmax(1), label, 2, average=average).item()
    assert m.auroc(tied, label, average=average) == pytest.approx(expected, abs=1e-6)
    assert m.auroc(tied + 7, label, average=average) == m.auroc(tied, label, average=average)


def test_auroc_is_over_the_classes_that_occur() -> None:
    label = torch.tensor([0, 0, 1, 1])  # never the third
    assert m.auroc(torch.nn.functional.one_hot(label, 3).float(), label) == 1.0
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    assert m.auroc(logits, label) == 0.75  # of two classes; three of four pairs are in order for each
    assert math.isnan(m.auroc(logits[:2], label[:2]))  # nothing to tell class 0 from
    assert math.isnan(m.auroc(logits[:0], label[:0]))
    assert math.isnan(m.auroc(logits * math.nan, label))


def test_auroc_orders_rows_whose_probabilities_round_to_one() -> None:
    logits = torch.tensor([[80.0, 0.0], [60.0, 0.0], [40.0, 0.0], [20.0, 0.0]])
    assert m.auroc(logits, torch.tensor([0, 0, 1, 1])) == 1.0
    assert m.auroc(logits, torch.tensor([1, 1, 0, 0])) == 0.0
    assert m.auroc(logits, torch.tensor([0, 1, 0, 1])) == 0.75


def test_calibration_error_of_bins_by_hand() -> None:
    logits = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.7, 0.3], [0.4, 0.6]], dtype=torch.float64).log()
    label = torch.tensor([0, 0, 1, 1])  # .9 is right; of two at .7 one is; .6, where two bins meet, is in the lower one
    assert m.calibration_error(logits, label, bins=5) == pytest.approx(0.1 / 4 + 2 / 4 * 0.2 + 0.4 / 4)
    assert m.calibration_error(logits, label, bins=5, norm="max") == pytest.approx(0.4)
    expected = math.sqrt(0.1**2 / 4 + 2 / 4 * 0.2**2 + 0.4**2 / 4)
    assert m.calibration_error(logits, label, bins=5, norm="l2") == pytest.approx(expected)
    assert math.isnan(m.calibration_error(logits[:0], label[:0]))


def test_a_confidence_of_one_shares_the_last_bin() -> None:
    logits = torch.tensor([[200.0, 0.0], [3.0, 0.0]])  # both in the last of 15 bins: 1 and 0.953
    sure = torch.sigmoid(torch.tensor(3.0)).item()
    found = m.calibration_error(logits, torch.tensor([0, 1]))
    assert found == pytest.approx(abs((1 + sure) / 2 - 0.5))  # not the mean of 0 and 0.953
