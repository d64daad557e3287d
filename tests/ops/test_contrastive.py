"""Contrastive losses against plain loops, and what they leave in their banks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from kdrun.ops import contrastive as C
from support.tensors import rows


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(rows(*shape, seed=seed), dim=1)


FIRST, SECOND = rows(4, 3), rows(4, 3, seed=1)


def cosines(a: Tensor, b: Tensor) -> np.ndarray:
    return (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T).numpy()


def test_each_row_finds_its_partner() -> None:
    scores = cosines(FIRST, SECOND) / 0.2
    one_sided = -np.diag(log_softmax(scores, axis=1)).mean()
    other = -np.diag(log_softmax(scores.T, axis=1)).mean()
    assert C.info_nce(FIRST, SECOND, temperature=0.2).item() == pytest.approx(one_sided)
    both = C.info_nce(FIRST, SECOND, temperature=0.2, symmetric=True).item()
    assert both == pytest.approx((one_sided + other) / 2)
    raw = -np.diag(log_softmax((FIRST @ SECOND.T).numpy(), axis=1)).mean()
    assert C.info_nce(FIRST, SECOND, temperature=1.0, normalize=False).item() == pytest.approx(raw)


def test_indistinguishable_partners_cost_the_log_of_their_number() -> None:
    same = torch.ones(8, 3)
    assert C.info_nce(same, same).item() == pytest.approx(math.log(8))
    assert C.info_nce(same, same, both_views=True).item() == pytest.approx(math.log(15))
    assert C.info_nce(same, same, bank=torch.ones(4, 3)).item() == pytest.approx(math.log(12))


def test_two_views_exclude_only_the_row_itself() -> None:
    every = torch.cat([FIRST, SECOND])
    scores = cosines(every, every) / 0.3
    np.fill_diagonal(scores, -np.inf)
    logs = log_softmax(scores, axis=1)
    expected = -np.mean([logs[i, (i + 4) % 8] for i in range(8)])
    assert C.info_nce(FIRST, SECOND, temperature=0.3, both_views=True).item() == pytest.approx(expected)


def test_soft_targets_and_masks_of_positives() -> None:
    logs = log_softmax(cosines(FIRST, SECOND) / 0.1, axis=1)
    targets = rows(4, 4, seed=2).softmax(1)
    assert C.info_nce(FIRST, SECOND, targets).item() == pytest.approx(-(targets.numpy() * logs).sum(1).mean())
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    rows_found = C.info_nce(FIRST, SECOND, mask, mean_over_positives=True, reduction="none")
    np.testing.assert_allclose(rows_found[:3], [-logs[0, :2].mean(), -logs[1, :2].mean(), -logs[2, 2]])
    assert rows_found[3].item() == 0.0
    identity = torch.eye(4)
    torch.testing.assert_close(
        C.info_nce(FIRST, SECOND, identity, symmetric=True), C.info_nce(FIRST, SECOND, symmetric=True)
    )


def test_symmetric_soft_targets_are_transposed_for_the_way_back() -> None:
    scores, targets = cosines(FIRST, SECOND), rows(4, 4, seed=2).softmax(1)
    there = -(targets.numpy() * log_softmax(scores, axis=1)).sum(1)
    back = -(targets.numpy().T * log_softmax(scores.T, axis=1)).sum(1)
    value = C.info_nce(FIRST, SECOND, targets, temperature=1.0, symmetric=True).item()
    assert value == pytest.approx(((there + back) / 2).mean())


class Banks:
    """Eight samples, three rows of a batch, four negatives each."""

    def __init__(self) -> None:
        self.student, self.teacher = unit(8, 3, seed=1), unit(8, 3, seed=2)
        self.own = torch.tensor([5, 0, 3])
        self.columns = torch.tensor([[5, 1, 2, 3, 4], [0, 2, 3, 4, 5], [3, 6, 7, 0, 1]])
        self.embeds = unit(3, 3, seed=3).requires_grad_(), unit(3, 3, seed=4).requires_grad_()

    def loss(self, constants: Tensor | None = None, **options: float) -> Tensor:
        return C.memory_contrastive_loss(
            *self.embeds, self.student, self.teacher, self.own, self.columns, constants, **options
        )


def by_hand(embed: Tensor, bank: Tensor, columns: Tensor, constant: float | None = None) -> tuple[float, float]:
    scores = np.array([[math.exp((embed[i] @ bank[j]).item() / 0.07) for j in columns[i]] for i in range(3)])
    constant = scores.mean() * 8 if constant is None else constant
    p, share = scores / constant, 4 / 8
    positive = np.log(p[:, 0] / (p[:, 0] + share + 1e-7)).sum()
    negative = np.log(share / (p[:, 1:] + share + 1e-7)).sum()
    return -(positive + negative) / 3, constant


def test_memory_contrast_both_ways_in_loops() -> None:
    banks = Banks()
    student, teacher = (e.detach() for e in banks.embeds)
    expected = by_hand(student, banks.teacher, banks.columns)[0] + by_hand(teacher, banks.student, banks.columns)[0]
    value = banks.loss()
    assert value.item() == pytest.approx(expected)
    value.backward()
    assert all(e.grad.abs().sum() > 0 for e in banks.embeds)


def test_own_rows_of_the_banks_move_towards_the_embeds_after_the_loss() -> None:
    banks, before = Banks(), Banks()
    banks.loss(momentum=0.75)
    for bank, old, embed in zip(
        (banks.student, banks.teacher), (before.student, before.teacher), banks.embeds, strict=True
    ):
        mixed = 0.75 * old[banks.own] + 0.25 * embed.detach()
        torch.testing.assert_close(bank[banks.own], mixed / mixed.norm(dim=1, keepdim=True))
        others = [i for i in range(8) if i not in banks.own.tolist()]
        torch.testing.assert_close(bank[others], old[others], rtol=0, atol=0)
        assert not bank.requires_grad


def test_constants_are_set_by_the_first_batch_and_then_kept() -> None:
    banks, constants = Banks(), torch.zeros(2, dtype=torch.float64)
    first = [
        by_hand(e.detach(), b, banks.columns)[1]
        for e, b in zip(banks.embeds, (banks.teacher, banks.student), strict=True)
    ]
    banks.loss(constants)
    np.testing.assert_allclose(constants, first)
    second = Banks()
    second.embeds = unit(3, 3, seed=7), unit(3, 3, seed=8)
    expected = by_hand(second.embeds[0], second.teacher, second.columns, first[0])[0]
    expected += by_hand(second.embeds[1], second.student, second.columns, first[1])[0]
    assert second.loss(constants).item() == pytest.approx(expected)
    np.testing.assert_allclose(constants, first)


def test_memory_contrast_needs_no_values_to_find_its_shape() -> None:
    with FakeTensorMode():
        embeds = [torch.empty(3, 4, requires_grad=True) for _ in range(2)]
        banks = [torch.empty(8, 4) for _ in range(2)]
        own, columns = torch.zeros(3, dtype=torch.int64), torch.zeros(3, 5, dtype=torch.int64)
        C.memory_contrastive_loss(*embeds, *banks, own, columns, torch.zeros(2)).backward()
        assert embeds[0].grad.shape == (3, 4)


def views(count: int, seed: int) -> tuple[Tensor, ...]:
    return tuple(rows(4 * count, width, seed=seed + i) for i, width in enumerate((5, 5, 3, 6)))


def relation_by_hand(
    student: Tensor, teacher: Tensor, s: Tensor, t: Tensor, labels: Tensor, share: tuple[float, float]
) -> list[float]:
    """The four terms from their definition: lists, sorting and scipy."""
    count = len(labels)
    normal, turned = list(range(0, 4 * count, 4)), [r for r in range(4 * count) if r % 4]

    def divergence(a: np.ndarray, b: np.ndarray, temperature: float, kept: list[int]) -> float:
        values = [rel_entr(softmax(b[i] / temperature), softmax(a[i] / temperature)).sum() for i in kept]
        return temperature**2 * float(np.mean(values))

    def kept(scores: np.ndarray, right: list[int], part: float) -> list[int]:
        ranks = [int(np.argsort(-row).tolist().index(r)) for row, r in zip(scores, right, strict=True)]
        wrong = sorted((rank, i) for i, rank in enumerate(ranks) if rank)
        return [i for i, rank in enumerate(ranks) if not rank] + [i for _, i in wrong[: int(part * len(wrong))]]

    z, u = student.numpy(), teacher.numpy()
    own = [i for i in range(count) for _ in range(3)]
    hard = -np.mean([log_softmax(z[r])[y] for r, y in zip(normal, labels.tolist(), strict=True)])
    a, b = (cosines(h[turned], h[normal]) for h in (s, t))
    true = [labels[i].item() for i in own]
    return [
        hard,
        divergence(z[normal], u[normal], 4.0, list(range(count))),
        divergence(a, b, 0.5, kept(b, own, share[0])),
        divergence(z[turned], u[turned], 4.0, kept(u[turned], true, share[1])),
    ]


@pytest.mark.parametrize("share", [(0.75, 1.0), (0.3, 0.5), (0.0, 0.0)])
def test_self_supervised_relations_by_definition(share) -> None:
    inputs, labels = views(6, seed=10), torch.tensor([0, 4, 2, 2, 1, 3])
    terms = relation_by_hand(*inputs, labels, share)
    options = {"ss_ratio": share[0], "tf_ratio": share[1]}
    for i in range(4):
        only = [float(i == j) for j in range(4)]
        value = C.self_supervised_relation_loss(*inputs, labels, loss_weights=only, **options).item()
        assert value == pytest.approx(terms[i]), i
    value = C.self_supervised_relation_loss(*inputs, labels, **options).item()
    assert value == pytest.approx(np.dot([1.0, 0.9, 10.0, 2.7], terms))


def test_ties_of_rank_go_by_row_order() -> None:
    scores = torch.tensor([[0.9, 0.5, 0.1]] * 4)
    assert C._kept_rows(scores, torch.tensor([1, 0, 1, 1]), 0.7).tolist() == [True, True, True, False]


def test_views_that_do_not_fit_the_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="4 views of each of 5 labels"):
        C.self_supervised_relation_loss(*views(6, seed=0), torch.zeros(5, dtype=torch.int64))


def test_self_supervised_relations_have_a_gradient_without_values() -> None:
    with FakeTensorMode():
        inputs = [torch.empty(8, width, requires_grad=True) for width in (5, 5, 3, 6)]
        C.self_supervised_relation_loss(*inputs, torch.zeros(2, dtype=torch.int64)).backward()
        assert inputs[2].grad.shape == (8, 3)
