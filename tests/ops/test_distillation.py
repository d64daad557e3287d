"""Losses of softened predictions and their parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor

from kdrun import ops
from support.arrays import kullback_leibler, soft
from support.tensors import rows

STUDENT, TEACHER = rows(5, 4), rows(5, 4, seed=1)

LABELS = torch.tensor([0, 3, 1, 1, 2])


def test_kd_loss_has_squared_temperature_only_beside_the_labels() -> None:
    divergence = kullback_leibler(soft(TEACHER, 4.0), soft(STUDENT, 4.0)).mean()
    hard = -np.log(soft(STUDENT)[np.arange(5), LABELS]).mean()
    mixed = ops.kd_loss(STUDENT, TEACHER, LABELS, temperature=4.0, alpha=0.3).item()
    assert mixed == pytest.approx(0.3 * hard + 0.7 * 16 * divergence)
    assert ops.kd_loss(STUDENT, TEACHER, LABELS, temperature=4.0, alpha=0.0).item() == pytest.approx(divergence)
    assert ops.kd_loss(STUDENT, TEACHER, temperature=4.0).item() == pytest.approx(divergence)
    total = ops.kd_loss(STUDENT, TEACHER, LABELS, temperature=4.0, alpha=0.3, reduction="sum").item()
    assert total == pytest.approx(5 * mixed)


def test_decoupled_terms_in_closed_form() -> None:
    s, t, rest = soft(STUDENT, 2.0), soft(TEACHER, 2.0), np.arange(5)
    own_s, own_t = s[rest, LABELS], t[rest, LABELS]
    bins = kullback_leibler(np.stack([own_t, 1 - own_t], 1), np.stack([own_s, 1 - own_s], 1)).mean()
    others = []
    for i, label in enumerate(LABELS.tolist()):
        q, p = np.delete(s[i], label), np.delete(t[i], label)
        others.append(kullback_leibler(p / p.sum(), q / q.sum()))
    options = {"temperature": 2.0}
    assert ops.decoupled_kd(STUDENT, TEACHER, LABELS, alpha=1.0, beta=0.0, **options).item() == pytest.approx(4 * bins)
    value = ops.decoupled_kd(STUDENT, TEACHER, LABELS, alpha=0.0, beta=1.0, **options).item()
    assert value == pytest.approx(4 * np.mean(others))


def test_decoupling_adds_up_to_distillation() -> None:
    """Zhao et al. (2022), eq. 6: KD = TCKD + (1 - p_t) NCKD, sample by sample."""
    row, teacher, label = STUDENT[:1], TEACHER[:1], LABELS[:1]
    left_over = 1 - soft(TEACHER, 4.0)[0, label.item()]
    whole = ops.decoupled_kd(row, teacher, label, alpha=1.0, beta=left_over, temperature=4.0)
    torch.testing.assert_close(whole, ops.kl_divergence(row, teacher, temperature=4.0, squared_temperature=True))


def test_standardised_logits_forget_shift_and_scale() -> None:
    value = ops.logit_standardized_kd(STUDENT, TEACHER)
    torch.testing.assert_close(ops.logit_standardized_kd(3 * STUDENT - 2, 0.5 * TEACHER + 7), value, rtol=1e-5, atol=0)

    def standard(z: Tensor) -> np.ndarray:
        return (z.numpy() - z.numpy().mean(1, keepdims=True)) / z.numpy().std(1, ddof=1, keepdims=True)

    soft_term = kullback_leibler(softmax(standard(TEACHER) / 2, axis=1), softmax(standard(STUDENT) / 2, axis=1)).mean()
    hard = -np.log(soft(STUDENT)[np.arange(5), LABELS]).mean()
    both = ops.logit_standardized_kd(STUDENT, TEACHER, LABELS).item()
    assert both == pytest.approx(0.5 * hard + 9 * 4 * soft_term, rel=1e-6)
