"""Rows chosen and joined."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import MemoryDataset
from kdrun.data.handwritten_digits import Digits
from kdrun.errors import InputError
from kdrun.parts.rows import (
    concatenate_rows,
    excluding_classes,
    excluding_rows,
    first_rows,
    joint_labels,
    of_classes,
    top_k,
)
from support.data import dataset, labelled


def test_the_surest_share_of_the_rows() -> None:
    scores = torch.tensor([0.1, 0.9, 0.5, 0.7])
    assert top_k(scores, labelled(4), share=0.5).rows()["label"].tolist() == [1, 3]
    assert top_k(scores, labelled(4), k=1, largest=False).rows()["label"].tolist() == [0]
    with pytest.raises(InputError, match="either k or share"):
        top_k(scores, labelled(4))


def test_selections_against_another_one() -> None:
    rows = labelled(12)
    first = of_classes(rows, classes=[1])
    assert len(excluding_rows(rows, first)) == 9
    assert set(excluding_classes(rows, first).rows()["label"].tolist()) == {0, 2, 3}
    assert len(of_classes(rows, classes=2)) == 6


def test_classes_are_kept_and_numbered_by_their_place() -> None:
    digits = Digits().load()["all"]
    assert len(digits) == 1797
    assert digits.rows()["index"].tolist() == list(range(1797))
    kept = of_classes(digits, classes=[7, 2], renumber=True)
    was = digits.rows(kept.rows()["index"])["label"]
    assert kept.info.classes == 2
    assert torch.equal(torch.tensor([7, 2])[kept.rows()["label"]], was)
    assert len(was) == int(((digits.rows()["label"] == 7) | (digits.rows()["label"] == 2)).sum())
    plain = of_classes(digits, classes=[7, 2])
    assert torch.equal(plain.rows()["label"], was)
    assert plain.info.classes == 10
    with pytest.raises(InputError, match="no row is of the classes"):
        of_classes(digits, classes=[12], renumber=True)


def numbered(first: int, last: int) -> MemoryDataset:
    return dataset(9, image=torch.randn(last - first, 2), label=torch.arange(first, last))


def test_joined_rows_know_where_they_come_from() -> None:
    joined = concatenate_rows(numbered(0, 2), numbered(5, 8), source="source").rows()
    assert joined["label"].tolist() == [0, 1, 5, 6, 7]
    assert joined["source"].tolist() == [0, 0, 1, 1, 1]
    assert joined["index"].tolist() == [0, 1, 2, 3, 4]
    other = dataset(label=torch.zeros(1))
    with pytest.raises(InputError, match="do not join"):
        concatenate_rows(numbered(0, 2), other)


def test_a_collection_grows_from_nothing_and_is_numbered_anew() -> None:
    rows = labelled(12)
    collected = first_rows(rows, k=0)
    for classes in ([1], [2, 3]):
        collected = concatenate_rows(collected, of_classes(rows, classes=classes))
        again = dataset(4, **collected.rows())  # as it comes out of the store, with its numbers as a column
        collected = concatenate_rows(again)
    assert collected.column("label").bincount().tolist() == [0, 3, 3, 3]
    assert collected.column("index").tolist() == list(range(9))


def test_labels_of_several_sets_are_numbered_on() -> None:
    sets = [
        dataset(3, label=torch.tensor([2, 0])),
        dataset(2, label=torch.tensor([1])),
        dataset(4, label=torch.arange(4)),
    ]
    joined = joint_labels(*sets)
    rows = joined.rows()
    assert joined.info.classes == 9
    assert rows["label"].tolist() == [2, 0, 4, 5, 6, 7, 8]
    assert torch.equal(rows["label"] - rows["first"], torch.cat([s.rows()["label"] for s in sets]))
    assert rows["count"].tolist() == [3, 3, 2, 4, 4, 4, 4]
    with pytest.raises(InputError, match="how many classes"):
        joint_labels(sets[0], dataset(label=torch.tensor([1])))
