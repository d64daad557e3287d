"""Streams of tasks that share no rows between train and test."""

from __future__ import annotations

import torch

from kdrun.data.tasks import RotatedDigits


def test_tasks_turn_and_share_no_rows_between_train_and_test() -> None:
    tasks = RotatedDigits(tasks=3, noise=0.0).load()["tasks"]
    assert [len(tasks[0][n]) for n in ("train", "test")] == [200, 500]
    assert tasks[2]["train"].rows()["task"].unique().tolist() == [2]
    image = tasks[0]["train"].rows()["image"].flatten(1)
    everything = torch.cat([image, tasks[0]["test"].rows()["image"].flatten(1)])
    assert len(everything.unique(dim=0)) == 700, "no picture stands in both"
    assert not torch.equal(image, tasks[1]["train"].rows()["image"].flatten(1))
