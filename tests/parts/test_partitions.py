"""Partitions: by class, at random, skewed between clients."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.parts.partitions import by_class, label_skew, random_parts
from support.data import labelled


def test_classes_make_parts() -> None:
    rows = labelled(12)
    assert [sorted(set(p.rows()["label"].tolist())) for p in by_class(rows, groups=2)] == [[0, 1], [2, 3]]
    assert [len(p) for p in by_class(rows, groups=[[3], [0, 1, 2]])] == [3, 9]
    with pytest.raises(InputError, match="no row"):
        by_class(rows, groups=[[7]])


def test_random_parts_are_disjoint() -> None:
    rows = labelled(12)
    parts = random_parts(rows, parts=3, size=2, generator=torch.Generator().manual_seed(0))
    index = torch.cat([p.rows()["index"] for p in parts])
    assert len(index.unique()) == 6
    with pytest.raises(InputError, match="do not fit"):
        random_parts(rows, parts=5, size=3, generator=torch.Generator())


def test_skewed_clients_are_disjoint_and_tested_on_their_own_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    clients = label_skew(
        labelled(400), labelled(200), parts=4, concentration=0.1, size=50, test_size=40, generator=generator
    )
    index = torch.cat([c["train"].rows()["index"] for c in clients])
    assert len(index.unique()) == 200
    for client in clients:
        shares = [torch.bincount(client[n].rows()["label"], minlength=4) / len(client[n]) for n in ("train", "test")]
        assert (shares[0] - shares[1]).abs().max() < 0.35
    assert max(float((torch.bincount(c["train"].rows()["label"]) / 50).max()) for c in clients) > 0.6


def test_groups_share_their_priors() -> None:
    clients = label_skew(
        labelled(4000),
        labelled(400),
        parts=4,
        concentration=0.3,
        size=200,
        groups=2,
        shared=1.0,
        generator=torch.Generator().manual_seed(1),
    )
    counts = torch.stack([torch.bincount(c["train"].rows()["label"], minlength=4) / 200 for c in clients])
    assert (counts[0] - counts[1]).abs().max() < 0.12 < (counts[0] - counts[2]).abs().max()
    with pytest.raises(InputError, match="there are"):
        label_skew(labelled(10), labelled(10), parts=4, size=50, generator=torch.Generator())
