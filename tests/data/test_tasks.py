"""Streams of tasks that share no rows between train and test."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdrun.data.cifar_classes import FINE, SUPERCLASS_OF
from kdrun.data.tasks import RotatedDigits, SplitCifar100, SplitGlyphs
from kdrun.errors import DataError


def test_no_task_is_asked_about_a_row_that_another_one_learns() -> None:
    for rows in ({}, {"train_rows": 1000, "test_rows": 797}, {"train_rows": 1, "test_rows": 1}):
        tasks = RotatedDigits(tasks=5, angle=0.0, noise=0.0, **rows).load()["tasks"]
        images = {
            n: torch.cat([t[n].rows()["image"].flatten(1) for t in tasks]).unique(dim=0) for n in ("train", "test")
        }
        assert len(torch.cat([images["train"], images["test"]]).unique(dim=0)) == len(images["train"]) + len(
            images["test"]
        )


def test_tasks_turn_and_share_no_rows_between_train_and_test() -> None:
    tasks = RotatedDigits(tasks=3, noise=0.0).load()["tasks"]
    assert [len(tasks[0][n]) for n in ("train", "test")] == [200, 500]
    assert tasks[2]["train"].rows()["task"].unique().tolist() == [2]
    image = tasks[0]["train"].rows()["image"].flatten(1)
    everything = torch.cat([image, tasks[0]["test"].rows()["image"].flatten(1)])
    assert len(everything.unique(dim=0)) == 700, "no picture stands in both"
    assert not torch.equal(image, tasks[1]["train"].rows()["image"].flatten(1))


def test_glyphs_are_split_into_tasks_of_their_own_characters() -> None:
    small = {"tasks": 3, "classes": 2, "per_class": 4, "valid_per_class": 2, "test_per_class": 3}
    source = SplitGlyphs(**small, seed=1)
    tasks, told = source.load()["tasks"], source.info()["tasks"]
    for number, task in enumerate(tasks):
        for split, count in (("train", 8), ("valid", 4), ("test", 6)):
            rows = task[split].rows()
            assert len(task[split]) == told[number][split].size == count
            assert rows["task"].unique().tolist() == [number]
            assert rows["label"].bincount().tolist() == [count // 2] * 2
    same = SplitGlyphs(**small, seed=1, rotation=0.0, shift=0.0, contrast=0.0, noise=0.0, typefaces=["DejaVuSans"])
    faces = [task["train"].rows()["image"].flatten(1).unique(dim=0) for task in same.load()["tasks"]]
    assert [len(f) for f in faces] == [2, 2, 2]
    assert len(torch.cat(faces).unique(dim=0)) == 6, "no character is in two tasks"
    with pytest.raises(DataError, match="there are 62 characters"):
        SplitGlyphs(tasks=11, classes=6)


@pytest.fixture
def pictures(monkeypatch):
    """One picture of each of CIFAR-100's classes, black in the first, in place of torchvision's copy."""
    torchvision = pytest.importorskip("torchvision")

    class Copy:
        def __init__(self, root: str, *, train: bool, download: bool) -> None:
            self.targets = list(range(100))
            self.data = np.arange(100, dtype=np.uint8)[:, None, None, None].repeat(32, 1).repeat(32, 2).repeat(3, 3)

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", Copy)


@pytest.mark.parametrize("labels", ["task", "all", "superclass"])
def test_cifars_classes_are_dealt_out_whole(pictures, labels) -> None:
    tasks = SplitCifar100(root="nowhere", tasks=5, labels=labels, seed=3).load()["tasks"]
    shown = [(task["train"].column("image")[:, 0, 0, 0] * 255).round().long() for task in tasks]
    assert torch.equal(torch.cat(shown).sort().values, torch.arange(100)), "each class is in one task"
    for task, fine in zip(tasks, shown, strict=True):
        told = {"task": torch.arange(20), "all": fine.sort().values, "superclass": torch.arange(20)}[labels]
        assert torch.equal(task["train"].column("label").sort().values, told)
        if labels == "superclass":
            assert torch.equal(task["train"].column("label"), torch.tensor(SUPERCLASS_OF)[fine])


def test_names_stand_at_their_labels() -> None:
    assert [FINE[i] for i in (0, 3, 8, 52, 99)] == ["apple", "bear", "bicycle", "oak_tree", "worm"]
    assert [SUPERCLASS_OF[i] for i in (0, 1, 2, 3, 4, 99)] == [4, 1, 14, 8, 0, 13]
    with pytest.raises(DataError, match="5 members of each superclass do not divide into 2 tasks"):
        SplitCifar100(root="nowhere", tasks=2, labels="superclass")
