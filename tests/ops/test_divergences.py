"""The maths of ops: closed forms, limits, invariances and gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr, softmax
from scipy.stats import entropy, pearsonr
from torch import Tensor

from kdrun import ops
from kdrun.ops.classification import cross_entropy
from kdrun.ops.divergences import kl_divergence
from support.tensors import rows, student_and_teacher


def test_kl_of_two_coins_in_closed_form() -> None:
    student = torch.tensor([[0.0, 0.0]])
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert kl_divergence(student, teacher).item() == pytest.approx(expected, rel=1e-6)


def test_kl_is_zero_at_equality_and_ignores_shifts() -> None:
    pair = student_and_teacher()
    student, teacher = pair
    assert kl_divergence(teacher + 3.0, teacher, temperature=2.0).item() == pytest.approx(0.0, abs=1e-12)
    assert kl_divergence(student + 7.0, teacher).item() == pytest.approx(kl_divergence(student, teacher).item())


def test_kl_at_high_temperature_is_half_the_squared_logit_distance() -> None:
    """Hinton et al. (2015), section 2.1: for T large and centred logits, T² KL → Σ (z_s − z_t)² / 2K."""
    pair = student_and_teacher()
    student, teacher = (x - x.mean(1, keepdim=True) for x in pair)
    hot = kl_divergence(student, teacher, temperature=1e4, squared_temperature=True)
    torch.testing.assert_close(hot, (student - teacher).square().sum(1).mean() / 10, rtol=1e-3, atol=0)


def test_kl_reductions_agree() -> None:
    pair = student_and_teacher()
    student, teacher = pair
    rows = kl_divergence(student, teacher, reduction="none")
    assert rows.shape == (4,)
    torch.testing.assert_close(rows.mean(), kl_divergence(student, teacher))
    torch.testing.assert_close(rows.sum() / 20, kl_divergence(student, teacher, reduction="element_mean"))


def test_smoothing_mixes_the_label_with_the_uniform() -> None:
    pair = student_and_teacher()
    logits, _ = pair
    labels = torch.tensor([0, 1, 2, 3])
    uniform = torch.full((4, 5), 0.2, dtype=torch.float64)
    mixed = 0.7 * cross_entropy(logits, labels) + 0.3 * cross_entropy(logits, uniform)
    torch.testing.assert_close(cross_entropy(logits, labels, label_smoothing=0.3), mixed)


def test_cross_entropy_of_probabilities_is_that_of_their_logits() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 3, -100, 1, 2, 0])
    for target, smoothing in ((labels, 0.0), (labels, 0.2), (torch.rand(6, 4).softmax(-1), 0.1)):
        expected = cross_entropy(logits, target, label_smoothing=smoothing)
        found = cross_entropy(logits.softmax(-1), target, label_smoothing=smoothing, given="probabilities")
        torch.testing.assert_close(found, expected)
    sure = torch.tensor([[1.0, 0.0]])
    assert cross_entropy(sure, torch.tensor([1]), given="probabilities", eps=1e-5).item() == pytest.approx(
        -math.log(1e-5), rel=1e-5
    )


def np_kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return rel_entr(p, q).sum(-1)


STUDENT, TEACHER = rows(5, 4), rows(5, 4, seed=1)

LABELS = torch.tensor([0, 3, 1, 1, 2])


def soft(logits: Tensor, temperature: float = 1.0) -> np.ndarray:
    return softmax(logits.numpy() / temperature, axis=-1)


def test_kl_takes_two_temperatures_probabilities_and_either_direction() -> None:
    forward = np_kl(soft(TEACHER, 2.0), soft(STUDENT, 3.0))
    value = ops.kl_divergence(STUDENT, TEACHER, temperature=3.0, teacher_temperature=2.0, squared_temperature=True)
    assert value.item() == pytest.approx(9 * forward.mean())
    given = ops.kl_divergence(STUDENT, torch.tensor(soft(TEACHER, 2.0)), temperature=3.0, teacher_is="probabilities")
    assert given.item() == pytest.approx(forward.mean())
    reverse = ops.kl_divergence(STUDENT, TEACHER, direction="reverse", reduction="none")
    np.testing.assert_allclose(reverse, np_kl(soft(STUDENT), soft(TEACHER)))


def test_kl_of_a_one_hot_teacher_is_cross_entropy_with_finite_gradients() -> None:
    student = STUDENT.clone().requires_grad_()
    teacher = torch.eye(4, dtype=torch.float64)[LABELS].requires_grad_()
    value = ops.kl_divergence(student, teacher, teacher_is="probabilities")
    torch.testing.assert_close(value, ops.cross_entropy(student, LABELS))
    value.backward()
    assert torch.isfinite(teacher.grad).all()


def test_kl_reductions_with_weights_and_a_mask() -> None:
    per_token = torch.tensor(np_kl(soft(rows(2, 3, 4, seed=3)), soft(rows(2, 3, 4, seed=2))))
    student, teacher = rows(2, 3, 4, seed=2), rows(2, 3, 4, seed=3)
    weights = torch.tensor([[1.0, 0.5, 2.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [True, False, False]])

    def reduced(reduction: str, **inputs: Tensor) -> float:
        return ops.kl_divergence(student, teacher, reduction=reduction, **inputs).item()

    assert reduced("batch_mean") == pytest.approx(per_token.sum().item() / 2)
    assert reduced("mean") == pytest.approx(per_token.mean().item())
    assert reduced("element_mean") == pytest.approx(per_token.sum().item() / 24)
    assert reduced("mean", mask=mask) == pytest.approx(per_token[mask].mean().item())
    assert reduced("mean", weights=weights) == pytest.approx((weights * per_token).sum().item() / 6)
    assert reduced("weighted_mean", weights=weights) == pytest.approx((weights * per_token).sum().item() / 7.5)
    both = (weights * per_token)[mask].sum() / weights[mask].sum()
    assert reduced("weighted_mean", weights=weights, mask=mask) == pytest.approx(both.item())
    assert reduced("mean", mask=torch.zeros_like(mask)) == 0.0


def test_classes_may_stand_on_another_axis() -> None:
    maps, teacher = rows(2, 4, 3, 3), rows(2, 4, 3, 3, seed=1)
    last = ops.kl_divergence(maps.movedim(1, -1), teacher.movedim(1, -1), reduction="mean")
    torch.testing.assert_close(ops.kl_divergence(maps, teacher, reduction="mean", dim=1), last)
    labels = torch.randint(0, 4, (2, 3, 3), generator=torch.Generator().manual_seed(0))
    by_hand = -torch.log_softmax(maps, 1).gather(1, labels[:, None]).mean()
    torch.testing.assert_close(ops.cross_entropy(maps, labels, dim=1), by_hand)
    torch.testing.assert_close(ops.cross_entropy(maps.movedim(1, -1), labels), by_hand)


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        ops.kl_divergence(STUDENT, TEACHER[:1])


def test_cross_entropy_counts_only_answer_tokens() -> None:
    logits, labels = rows(2, 3, 4), torch.tensor([[1, 2, -100], [-100, -100, 0]])
    logs = np.log(soft(logits))
    kept = [-logs[0, 0, 1], -logs[0, 1, 2], -logs[1, 2, 0]]
    assert ops.cross_entropy(logits, labels).item() == pytest.approx(np.mean(kept))
    mask = torch.tensor([[True, False, True], [True, True, True]])
    assert ops.cross_entropy(logits, labels, mask=mask).item() == pytest.approx((kept[0] + kept[2]) / 2)
    assert ops.cross_entropy(logits, torch.full((2, 3), -100)).item() == 0.0


def test_cross_entropy_with_soft_labels_and_weights() -> None:
    targets = torch.tensor(soft(TEACHER))
    per_row = -(soft(TEACHER) * np.log(soft(STUDENT))).sum(1)
    np.testing.assert_allclose(ops.cross_entropy(STUDENT, targets, reduction="none"), per_row)
    weights = torch.tensor([1.0, 0.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    value = ops.cross_entropy(STUDENT, targets, weights, reduction="weighted_mean").item()
    assert value == pytest.approx((per_row * weights.numpy()).sum() / 4)


def test_js_is_that_of_scipy_and_bounded() -> None:
    expected = np.mean(jensenshannon(soft(STUDENT), soft(TEACHER), axis=1) ** 2)
    assert ops.js_divergence(STUDENT, TEACHER).item() == pytest.approx(expected)
    apart = torch.tensor([[200.0, 0.0]]), torch.tensor([[0.0, 200.0]])
    assert ops.js_divergence(*apart).item() == pytest.approx(math.log(2), rel=1e-6)


def test_consistency_of_two_is_js_and_of_three_is_symmetric() -> None:
    third = rows(5, 4, seed=5)
    torch.testing.assert_close(ops.jensen_shannon_consistency(STUDENT, TEACHER), ops.js_divergence(STUDENT, TEACHER))
    first = ops.jensen_shannon_consistency(STUDENT, TEACHER, third)
    torch.testing.assert_close(first, ops.jensen_shannon_consistency(third, STUDENT, TEACHER))
    mixture = (soft(STUDENT) + soft(TEACHER) + soft(third)) / 3
    expected = np.mean([np_kl(soft(z), mixture) for z in (STUDENT, TEACHER, third)])
    assert first.item() == pytest.approx(expected)


def test_pairwise_kl() -> None:
    matrix = ops.pairwise_kl(torch.tensor(soft(STUDENT)), torch.tensor(soft(TEACHER[:3])))
    assert matrix.shape == (5, 3)
    assert matrix[4, 2].item() == pytest.approx(np_kl(soft(STUDENT)[4], soft(TEACHER)[2]))


def test_kd_loss_has_squared_temperature_only_beside_the_labels() -> None:
    divergence = np_kl(soft(TEACHER, 4.0), soft(STUDENT, 4.0)).mean()
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
    bins = np_kl(np.stack([own_t, 1 - own_t], 1), np.stack([own_s, 1 - own_s], 1)).mean()
    others = []
    for i, label in enumerate(LABELS.tolist()):
        q, p = np.delete(s[i], label), np.delete(t[i], label)
        others.append(np_kl(p / p.sum(), q / q.sum()))
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

    soft_term = np_kl(softmax(standard(TEACHER) / 2, axis=1), softmax(standard(STUDENT) / 2, axis=1)).mean()
    hard = -np.log(soft(STUDENT)[np.arange(5), LABELS]).mean()
    both = ops.logit_standardized_kd(STUDENT, TEACHER, LABELS).item()
    assert both == pytest.approx(0.5 * hard + 9 * 4 * soft_term, rel=1e-6)


def test_entropy_is_that_of_scipy_and_largest_for_the_uniform() -> None:
    np.testing.assert_allclose(ops.prediction_entropy(STUDENT, reduction="none"), entropy(soft(STUDENT), axis=1))
    assert ops.prediction_entropy(torch.zeros(2, 8)).item() == pytest.approx(math.log(8))
    sure = torch.eye(3, requires_grad=True)
    value = ops.prediction_entropy(sure, given="probabilities")
    value.backward()
    assert value.item() == 0.0
    assert torch.isfinite(sure.grad).all()


def test_information_maximization_is_lowest_for_sure_and_varied_predictions() -> None:
    assert ops.information_maximization(200 * torch.eye(4)).item() == pytest.approx(-math.log(4), abs=1e-5)
    assert ops.information_maximization(torch.zeros(3, 4)).item() == pytest.approx(0.0, abs=1e-6)
    p = soft(STUDENT)
    value = ops.information_maximization(STUDENT, entropy_weight=2.0, diversity_weight=0.5).item()
    assert value == pytest.approx(2 * entropy(p, axis=1).mean() - 0.5 * entropy(p.mean(0)))
    inside = -(p * np.log(p + 1e-2)).sum(1).mean() + (p.mean(0) * np.log(p.mean(0) + 1e-2)).sum()
    assert ops.information_maximization(STUDENT, eps=1e-2).item() == pytest.approx(inside)


def test_pearson_relations_against_scipy() -> None:
    s, t = soft(STUDENT, 2.0), soft(TEACHER, 2.0)
    inter = 1 - np.mean([pearsonr(s[i], t[i])[0] for i in range(5)])
    intra = 1 - np.mean([pearsonr(s[:, k], t[:, k])[0] for k in range(4)])
    value = ops.pearson_relation_loss(STUDENT, TEACHER, beta=2.0, gamma=3.0, temperature=2.0).item()
    assert value == pytest.approx(4 * (2 * inter + 3 * intra))


def test_channel_and_spatial_correlations_against_scipy() -> None:
    s, t = rows(2, 4, 3, 3), rows(2, 4, 3, 3, seed=1)
    pixels = [pearsonr(s[b, :, i, j], t[b, :, i, j])[0] for b in range(2) for i in range(3) for j in range(3)]
    assert ops.channel_correlation_loss(s, t).item() == pytest.approx(1 - np.mean(pixels))
    images = [pearsonr(s[b].sum(0).flatten(), t[b].sum(0).flatten())[0] for b in range(2)]
    assert ops.spatial_correlation_loss(s, t).item() == pytest.approx(1 - np.mean(images))
    torch.testing.assert_close(ops.spatial_correlation_loss(5 * s + 3, t), ops.spatial_correlation_loss(s, t))


def test_direction_covariance_against_numpy() -> None:
    def gram(z: Tensor) -> np.ndarray:
        unit = z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True)
        return unit @ unit.T

    d = gram(STUDENT) - gram(TEACHER)
    inverse = np.linalg.inv(np.cov(d, rowvar=False) + 0.1 * np.eye(5))
    expected = np.mean([math.sqrt(row @ inverse @ row) for row in d])
    assert ops.direction_covariance_loss(STUDENT, TEACHER).item() == pytest.approx(expected)
    torch.testing.assert_close(
        ops.direction_covariance_loss(7 * STUDENT, TEACHER), ops.direction_covariance_loss(STUDENT, TEACHER)
    )


def test_the_surest_source_wins_and_ties_go_to_the_first() -> None:
    unsure, sure = (
        torch.tensor([[0.0, 0.5], [3.0, 0.0], [1.0, 0.0]]),
        torch.tensor([[0.0, 2.0], [1.0, 0.0], [0.0, 1.0]]),
    )
    assert ops.confidence_partition(unsure, sure).tolist() == [1, 0, 0]
    assert ops.supervised_confidence_partition(torch.tensor([0, 0, 1]), unsure, sure).tolist() == [0, 0, 1]
    chosen = ops.gather_source(torch.tensor([1, 0, 0]), unsure, sure)
    assert chosen.tolist() == [[0.0, 2.0], [3.0, 0.0], [1.0, 0.0]]


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


def test_probability_mse_sums_classes_and_averages_kept_rows() -> None:
    p, q = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    assert ops.probability_mse(p, q).item() == pytest.approx((2 + 0.25) / 2)
    assert ops.probability_mse(p, q, torch.tensor([False, True])).item() == pytest.approx(0.25)


def _selected(*logits: Tensor, **options) -> Tensor:
    return ops.class_adaptive_confidence_select(*logits, generator=torch.Generator().manual_seed(0), **options)


def test_rare_classes_have_a_low_bar() -> None:
    """Three samples of class 0 (bar .95), one of class 1 (β = 1/3, bar .95/5 = .19): only the surest of the first stay."""
    logits = torch.tensor([[0.97, 0.02, 0.01], [0.90, 0.05, 0.05], [0.96, 0.02, 0.02], [0.30, 0.36, 0.34]]).log()
    assert _selected(logits, torch.zeros(4, 3), teacher_weight=0.0).tolist() == [0, 2, 3]
    assert _selected(torch.zeros(4, 3), logits, teacher_weight=1.0).tolist() == [0, 2, 3]
    lower = _selected(logits, logits, teacher_weight=0.5, cutoff=0.8)
    assert lower.tolist() == [0, 1, 2, 3]


def test_divergence_from_the_standard_normal_law_is_torch_distributions() -> None:
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    laws = torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(*laws).sum(1).mean()
    torch.testing.assert_close(ops.standard_normal_kl(mean, log_variance), expected)
    assert ops.standard_normal_kl(torch.zeros(2, 3), torch.zeros(2, 3)).item() == 0.0
