"""Linear probes and shares of two rankings."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.parts.probes import interpolation_weight, logistic_probe
from support.data import dataset
from support.tensors import generator


def test_a_probe_tells_separable_classes_and_gives_none_without_rows_a_chance() -> None:
    label = torch.arange(60) % 3
    vectors = torch.eye(3)[label] * 3 + 0.1 * torch.randn(60, 3, generator=generator())
    train, valid = (dataset(4, entity=rows, label=label[rows]) for rows in (torch.arange(30), torch.arange(30, 60)))
    found = logistic_probe(vectors, train, valid)
    logits = vectors @ found["weight"] + found["bias"]
    assert (logits.argmax(1) == label).all()
    assert logits.shape == (60, 4)
    assert (logits.softmax(1)[:, 3] == 0).all()


def test_the_penalty_is_the_best_on_validation_rows_and_both_are_fitted() -> None:
    vectors = torch.randn(40, 2, generator=generator())
    label = (vectors[:, 0] > 0).long()
    train, valid = (dataset(2, entity=rows, label=label[rows]) for rows in (torch.arange(20), torch.arange(20, 40)))
    both = dataset(2, entity=torch.arange(40), label=label)
    found = logistic_probe(vectors, train, valid, costs=[100.0])
    from sklearn.linear_model import LogisticRegression

    wanted = LogisticRegression(C=100.0, max_iter=2000).fit(vectors.double().numpy(), label.numpy())
    gap = found["weight"][:, 1] - found["weight"][:, 0]
    assert torch.allclose(gap, torch.from_numpy(wanted.coef_[0]).float(), atol=1e-4)
    with pytest.raises(InputError, match="two classes"):
        logistic_probe(vectors, dataset(2, entity=torch.arange(3), label=torch.zeros(3).long()), both)


def test_a_query_has_no_part_in_its_own_share() -> None:
    good, bad = torch.eye(4)[torch.arange(8) % 4], torch.zeros(8, 4)
    relevant = good.clone()
    shares = interpolation_weight(good, bad, relevant, folds=4, generator=generator())
    assert (shares > 0).all()  # any share of the good ranking is perfect; 0 is not
    assert torch.allclose(shares, torch.full((8,), 1 / 19))
    relevant[0], changed = bad[0], good.clone()
    changed[0] = -good[0]
    again = interpolation_weight(changed, bad, good, folds=8, generator=generator())
    assert again[0] == shares[0]
    with pytest.raises(InputError, match="folds"):
        interpolation_weight(good, bad, good, folds=9, generator=generator())
