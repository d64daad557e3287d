"""Similarities of pairs and of sets."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from kdrun.ops.similarity import multi_similarity_loss, set_pair_similarity
from support.tensors import generator


def by_hand(features, labels, weight, alpha, beta, aw, bw, threshold=0.5, margin=0.1) -> float:
    unit = F.normalize(features, dim=1)
    s = (unit @ unit.T).tolist()
    total = 0.0
    for i, own in enumerate(labels):
        positive = [j for j, label in enumerate(labels) if label == own]
        negative = [j for j, label in enumerate(labels) if label != own]
        near = [j for j in negative if s[i][j] + margin > min(s[i][k] for k in positive)]
        far = [j for j in positive if not negative or s[i][j] - margin < max(s[i][k] for k in negative)]
        total += math.log(1 + sum(math.exp(-alpha * (s[i][j] - threshold) + aw * weight[i][j]) for j in far)) / alpha
        total += math.log(1 + sum(math.exp(beta * (s[i][j] - threshold) - bw * weight[i][j]) for j in near)) / beta
    return total / len(labels)


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_multi_similarity_is_the_sum_over_kept_pairs(classes) -> None:
    rng = generator()
    features = torch.randn(9, 3, generator=rng, dtype=torch.float64)
    labels = torch.arange(9) % classes
    weight = torch.rand(9, 9, generator=rng, dtype=torch.float64)
    loss = multi_similarity_loss(features, labels, weight, alpha=4.0, beta=3.0, alpha_weight=8.0, beta_weight=6.0)
    assert loss.item() == pytest.approx(by_hand(features, labels.tolist(), weight.tolist(), 4.0, 3.0, 8.0, 6.0))
    plain = multi_similarity_loss(features, labels, alpha=2.0, beta=5.0)
    assert plain.item() == pytest.approx(by_hand(features, labels.tolist(), weight.tolist(), 2.0, 5.0, 0.0, 0.0))


def test_multi_similarity_keeps_its_precision_in_mixed_precision() -> None:
    rng = generator()
    features, labels = torch.randn(8, 16, generator=rng), torch.arange(8) % 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = multi_similarity_loss(features, labels)
    assert torch.equal(mixed, multi_similarity_loss(features, labels))


def test_multi_similarity_leaves_well_separated_groups_alone() -> None:
    rng = generator()
    features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]], requires_grad=True)
    assert multi_similarity_loss(features, torch.tensor([0, 0, 1, 1])).item() == 0
    crossed = multi_similarity_loss(features, torch.tensor([0, 1, 0, 1]))
    assert crossed.item() > 0.5
    rows = torch.randn(6, 4, generator=rng)
    labels, order = torch.tensor([0, 1, 2, 0, 1, 1]), torch.randperm(6, generator=rng)
    value = multi_similarity_loss(rows, labels)
    assert torch.allclose(multi_similarity_loss(5 * rows[order], 7 - labels[order]), value)


def test_a_single_mention_hardly_pushes_unless_it_is_not_its_own_positive() -> None:
    features = F.normalize(torch.tensor([[1.0, 0.0], [0.8, 0.6]]), dim=1)
    labels = torch.tensor([0, 1])  # cosine 0.8 < 1 - margin
    assert multi_similarity_loss(features, labels, beta=5.0).item() == 0
    alone = multi_similarity_loss(features, labels, beta=5.0, exclude_self=True).item()
    assert alone == pytest.approx(math.log1p(math.exp(5 * 0.3)) / 5, rel=1e-5)


def test_descent_on_multi_similarity_parts_the_groups() -> None:
    rng = generator()
    features = torch.randn(12, 5, generator=rng, requires_grad=True)
    labels = torch.arange(12) % 2
    for _ in range(100):
        (gradient,) = torch.autograd.grad(multi_similarity_loss(features, labels, alpha=2.0, beta=5.0), features)
        features = (features - gradient).detach().requires_grad_()
    unit = F.normalize(features.detach(), dim=1)
    cosine = unit @ unit.T
    same = labels[:, None] == labels[None, :]
    assert cosine[same].min() > cosine[~same].max()


def test_set_similarities_are_extremes_and_means_over_members() -> None:
    rng = generator()
    features = torch.randn(6, 4, generator=rng)
    sets = torch.tensor([0, 2, 0, 2, 2, 0])
    unit = F.normalize(features, dim=1)
    between = unit[sets == 0] @ unit[sets == 2].T
    for aggregate, expected in (("max", between.max()), ("min", between.min()), ("mean", between.mean())):
        found = set_pair_similarity(features, sets, count=3, aggregate=aggregate)
        assert torch.allclose(found[0, 2], expected)
        assert torch.allclose(found, found.T)
        assert not found[1].any()
    assert torch.allclose(set_pair_similarity(features, sets, count=3).diag()[[0, 2]], torch.ones(2))
    centre = F.cosine_similarity(features[sets == 0].mean(0), features[sets == 2].mean(0), dim=0)
    assert torch.allclose(set_pair_similarity(features, sets, count=3, aggregate="centroid")[0, 2], centre)
