"""Targets and losses of known and novel classes in one softmax, against plain loops and in limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch.autograd import gradcheck

from kdrun import ops
from support.tensors import rows

COSINES = rows(7, 2, 3).tanh()
STUDENT, TEACHER = rows(3, 5, 2, 6).tanh(), rows(2, 5, 4, seed=1).tanh()
LABELLED = torch.tensor([True, False, True, False, False])


def scaled(scores: np.ndarray, epsilon: float, rounds: int) -> np.ndarray:
    """The plan of one clustering by the text of the algorithm, clusters by rows."""
    plan = np.exp(scores / epsilon).T
    plan /= plan.sum()
    clusters, count = plan.shape
    for _ in range(rounds):
        plan /= plan.sum(1, keepdims=True) * clusters
        plan /= plan.sum(0, keepdims=True) * count
    return (plan * count).T


def test_each_head_is_scaled_by_itself_and_rows_sum_to_one() -> None:
    found = ops.sinkhorn_assignment(COSINES, epsilon=0.3)
    for head in range(2):
        np.testing.assert_allclose(found[:, head].numpy(), scaled(COSINES[:, head].numpy(), 0.3, 3), rtol=1e-4)
    torch.testing.assert_close(found.sum(-1), torch.ones(7, 2))


def test_many_rounds_fill_all_clusters_alike_and_a_constant_for_a_cluster_changes_nothing() -> None:
    found = ops.sinkhorn_assignment(COSINES, epsilon=0.3, iterations=200)
    torch.testing.assert_close(found.sum(0), torch.full((2, 3), 7 / 3), rtol=1e-4, atol=1e-4)
    shifted = ops.sinkhorn_assignment(COSINES + torch.tensor([0.2, 0.0, -0.1]), epsilon=0.3, iterations=200)
    torch.testing.assert_close(shifted, found, rtol=1e-3, atol=1e-4)


def test_a_small_epsilon_gives_the_balanced_assignment_and_passes_no_gradient() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.1], [0.2, 0.7], [0.1, 0.9]], requires_grad=True)
    found = ops.sinkhorn_assignment(scores, epsilon=0.01)
    assert found.argmax(1).tolist() == [0, 0, 1, 1]
    assert found.amax(1).min() > 0.999
    assert not found.requires_grad
    assert ops.sinkhorn_assignment(torch.ones(4, 2).half(), epsilon=0.05).dtype == torch.float32


def test_targets_are_distributions_that_share_no_class() -> None:
    found = ops.joint_targets(torch.tensor([3, 0]), ops.sinkhorn_assignment(COSINES), known=4)
    torch.testing.assert_close(found["target"].sum(-1), torch.ones(9, 2))
    assert found["target"][:2, :, 4:].sum() == found["target"][2:, :, :4].sum() == 0
    assert found["target"][0, 1].argmax() == 3
    assert found["labelled"].tolist() == [True] * 2 + [False] * 7


def test_swapped_prediction_is_the_mean_over_pairs_of_views() -> None:
    targets = rows(2, 5, 2, 6, seed=2).softmax(-1)
    logs = log_softmax(STUDENT.numpy() / 0.1, axis=-1)
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2)]
    wanted = np.mean([-(targets[v].numpy() * logs[w]).sum(-1).mean(0) for v, w in pairs], axis=0)
    np.testing.assert_allclose(ops.swapped_prediction(STUDENT, targets).numpy(), wanted)
    with pytest.raises(ValueError, match="two views"):
        ops.swapped_prediction(STUDENT[:1], targets[:1])


def test_gated_relations_by_loops() -> None:
    """Rows with labels teach nothing; the gate's mean is over views, heads and all other rows."""
    s, t = STUDENT.numpy()[:2] / 0.4, TEACHER.numpy() / 0.4
    free = np.flatnonzero(~LABELLED.numpy())
    gate = softmax(s, axis=-1)[..., :4].sum(-1)[:, free]
    gate = gate / gate.mean()
    cross = -(softmax(t, axis=-1)[:, :, None] * log_softmax(s[..., :4], axis=-1)).sum(-1)[:, free]
    found = ops.gated_relation_distillation(STUDENT, TEACHER, LABELLED)
    np.testing.assert_allclose(found.numpy(), 16 * (gate * cross).mean((0, 1)))
    flat = ops.gated_relation_distillation(STUDENT, TEACHER, LABELLED, gated=False)
    np.testing.assert_allclose(flat.numpy(), 16 * cross.mean((0, 1)))


def test_the_gate_has_a_gradient_that_moves_novel_logits() -> None:
    student = STUDENT.clone().requires_grad_()
    gated, flat = (ops.gated_relation_distillation(student, TEACHER, LABELLED, gated=g).sum() for g in (True, False))
    assert torch.autograd.grad(flat, student)[0][..., 4:].abs().max() == 0
    moved = torch.autograd.grad(gated, student)[0]
    assert moved[:2, ~LABELLED][..., 4:].abs().min() > 0
    assert moved[:, LABELLED].abs().max() == moved[2].abs().max() == 0
    assert gradcheck(lambda s: ops.gated_relation_distillation(s, TEACHER, LABELLED, temperature=1.0), (student,))


def test_what_all_novel_logits_have_in_common_does_not_weigh_rows() -> None:
    """If every row gives known classes the same probability, the gate is 1."""
    student = torch.cat([STUDENT[..., :4].log_softmax(-1), torch.zeros(3, 5, 2, 2, dtype=torch.float64)], -1)
    options = {"temperature": 1.0, "relation_temperature": 1.0}
    gated = ops.gated_relation_distillation(student, TEACHER, LABELLED, **options)
    torch.testing.assert_close(
        gated, ops.gated_relation_distillation(student, TEACHER, LABELLED, gated=False, **options)
    )


def test_a_student_like_the_teacher_reaches_its_entropy() -> None:
    student = torch.cat([TEACHER[:, :, None], torch.zeros(2, 5, 1, 2, dtype=torch.float64)], -1)
    law = (TEACHER / 0.4).softmax(-1)
    entropy = -(law * law.log()).sum(-1)[:, ~LABELLED].mean()
    found = ops.gated_relation_distillation(student, TEACHER, LABELLED, gated=False)
    torch.testing.assert_close(found, 16 * entropy[None])
    other = ops.gated_relation_distillation(student.flip(1), TEACHER, LABELLED, gated=False)
    assert other.item() > found.item()


def test_joint_logits_give_every_head_the_known_ones() -> None:
    known, novel = rows(4, 3), rows(4, 2, 5)
    joint = ops.joint_logits(known, novel)
    assert all(torch.equal(joint[:, h], torch.cat([known, novel[:, h]], 1)) for h in range(2))
    assert math.isclose(joint.sum().item(), (2 * known.sum() + novel.sum()).item())
