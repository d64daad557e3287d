"""Sources of data: how rows are dealt out, and wrong labels in one of them."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from kdrun.data.dataset import Column, DataInfo, FileDataset
from kdrun.data.sources import ClassSources, _renumbered
from kdrun.errors import DataError

GROUPS = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


def digits(**options):
    return ClassSources(base={"data": "digits"}, groups=GROUPS, **{"seed": 3, **options})


def test_sources_hold_their_classes_and_a_few_others() -> None:
    data = digits(leakage=[0.02, 0.1, 0.0])
    splits, info = data.load(), data.info()
    rows = splits["pool"].rows()
    assert len(splits["pool"]) == info["pool"].size == 797
    assert rows["index"].tolist() == list(range(797))
    for i, (group, leak) in enumerate(zip(GROUPS, [0.02, 0.1, 0.0], strict=True)):
        foreign = ~torch.isin(rows["label"][rows["source"] == i], torch.tensor(group))
        assert abs(foreign.double().mean().item() - leak) < 0.01
    again = digits(leakage=[0.02, 0.1, 0.0]).load()["pool"].rows()
    assert all(torch.equal(rows[name], again[name]) for name in rows)
    with pytest.raises(DataError, match="3 sources need as many shares"):
        digits(leakage=[0.1])
    with pytest.raises(DataError, match="one source"):
        ClassSources(base={"data": "digits"}, groups=[[0, 1], [1, 2]])


def test_wrong_labels_are_in_their_source_alone_and_change_nothing_else() -> None:
    clean, noisy = digits().load()["pool"].rows(), digits(wrong_labels=[0.0, 0.4, 0.0]).load()["pool"].rows()
    changed = clean["label"] != noisy["label"]
    assert torch.equal(clean["image"], noisy["image"])
    assert not changed[clean["source"] != 1].any()
    assert abs(changed[clean["source"] == 1].double().mean().item() - 0.36) < 0.08  # a tenth is right by chance


def test_rows_of_files_are_numbered_anew() -> None:
    info = DataInfo({"image": Column(()), "label": Column((), torch.int64)}, 3)
    files = FileDataset(lambda i: {"image": torch.tensor(float(i)), "label": torch.tensor(i % 3)}, 9, info)
    chosen = _renumbered(files, torch.tensor([7, 2, 4]), {"label": torch.tensor([2, 2, 0])})
    rows = chosen.select(torch.tensor([2, 0])).rows()
    assert rows["image"].tolist() == [4, 7]
    assert rows["label"].tolist() == [0, 2]
    assert rows["index"].tolist() == [2, 0]


def test_sources_have_the_held_out_splits_of_their_base_and_no_others(tmp_path) -> None:
    for split in ("train", "test"):
        for label in "ab":
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(6):
                Image.new("L", (4, 4)).save(tmp_path / split / label / f"{i}.png")
    base = {"data": "folder", "root": str(tmp_path), "size": 4, "channels": 1}
    part = ClassSources(base=base, groups=[[0], [1]], public=2, leakage=0.0)
    assert set(part.info()) == set(part.load()) == {"pool", "public", "test"}
