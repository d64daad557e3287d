"""Folders of images, and how bad ones are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kdrun.data.image_folders import Folder, ImageNet
from kdrun.errors import DataError
from support.data import assert_as_promised


@pytest.fixture
def images(tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        for label, value in (("dark", 10), ("light", 240)):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.full((12 + i, 10, 3), value, dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path


def test_a_folder_of_images(images) -> None:
    part = Folder(root=str(images), size=8, mean=[0.0] * 3, std=[1.0] * 3)
    splits = assert_as_promised(part)
    rows = splits["train"].rows()
    dark = rows["image"][rows["label"] == 0]
    torch.testing.assert_close(dark, torch.full_like(dark, 10 / 255))
    batch = next(splits["train"].batches(3, order=torch.tensor([5, 1, 0])))
    assert batch["index"].tolist() == [5, 1, 0]
    before = part.fingerprint()
    (images / "train/dark/0.png").unlink()
    assert part.fingerprint() != before


def test_a_folder_gives_the_same_batches_through_worker_processes(images) -> None:
    data = Folder(root=str(images), size=8).load()["train"]
    alone = list(data.batches(3))
    helped = list(data.batches(3, workers=2))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(alone, helped, strict=True))


def test_a_flat_folder_keeps_files_in_their_split_when_others_come(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    for i in range(40):
        Image.new("L", (4, 4)).save(tmp_path / "a" / f"{i}.png")
    part = Folder(root=str(tmp_path), size=4, channels=1)
    before = {s: {p.name for p, _ in rows} for s, rows in part._listing()[1].items()}
    Image.new("L", (4, 4)).save(tmp_path / "a" / "new.png")
    after = {s: {p.name for p, _ in rows} for s, rows in part._listing()[1].items()}
    assert all(before[s] <= after[s] for s in before)
    assert min(len(v) for v in before.values()) > 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: None, "holds no images"),
        (lambda root: (root / "train/dark/bad.png").write_text("no image"), "bad.png is broken"),
        (lambda root: (root / "test/odd").mkdir(parents=True), "has the class 'odd', which"),
    ],
)
def test_bad_folders_are_named(tmp_path, damage, message) -> None:
    (tmp_path / "train/dark").mkdir(parents=True)
    damage(tmp_path)
    if "holds no" not in message:
        Image.new("RGB", (8, 8)).save(tmp_path / "train/dark/a.png")
    with pytest.raises(DataError, match=message):
        Folder(root=str(tmp_path), size=8).load()["train"].rows()


def test_missing_and_empty_folders_are_named(tmp_path) -> None:
    with pytest.raises(DataError, match="no class folders: expected .*/CLASS/\\*.png"):
        Folder(root=str(tmp_path)).load()
    with pytest.raises(DataError, match="ImageNet is expected as"):
        ImageNet(root=str(tmp_path)).load()
    assert ImageNet(root=str(tmp_path / "none")).info()["train"].size == 1281167
