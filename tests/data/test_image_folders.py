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


def fill(root, **splits: int) -> None:
    """Class folders ``a`` and ``b`` of so many images each under each split."""
    for split, count in splits.items():
        for label in "ab":
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                Image.new("L", (4, 4)).save(root / split / label / f"{split}{i}.png")


@pytest.mark.parametrize(
    ("folders", "sizes"),
    [
        ({"train": 3, "test": 2}, {"train": 6, "test": 4}),
        ({"train": 3, "valid": 1, "test": 0}, {"train": 6, "valid": 2}),
        ({"train": 3, "val": 1, "test": 2}, {"train": 6, "valid": 2, "test": 4}),
        ({"train": 3, "validation": 1}, {"train": 6, "valid": 2}),
        ({"train": 3, "dev": 1}, {"train": 6, "valid": 2}),
        ({"train": 3}, {"train": 6}),
    ],
    ids=["no valid", "empty test", "val", "validation", "dev", "train alone"],
)
def test_a_split_without_images_is_not_there(tmp_path, folders, sizes) -> None:
    fill(tmp_path, **folders)
    splits = assert_as_promised(Folder(root=str(tmp_path), size=4, channels=1))
    assert {name: len(rows) for name, rows in splits.items()} == sizes


def test_two_folders_for_one_split_are_refused(tmp_path) -> None:
    fill(tmp_path, train=1, val=1, valid=1)
    with pytest.raises(DataError, match="would be the split valid: keep one"):
        Folder(root=str(tmp_path)).info()


def test_images_for_validation_are_set_aside_from_training(tmp_path) -> None:
    fill(tmp_path, train=10, val=3)
    plain = ImageNet(root=str(tmp_path), size=4, resize=4)
    assert {name: info.size for name, info in plain.info().items()} == {"train": 20, "test": 6}
    part = ImageNet(root=str(tmp_path), size=4, resize=4, valid=5)
    assert_as_promised(part)
    files = {split: {path for path, _ in rows} for split, rows in part._listing()[1].items()}
    assert {split: len(paths) for split, paths in files.items()} == {"train": 15, "test": 6, "valid": 5}
    assert files["train"] | files["valid"] == {path for path, _ in plain._listing()[1]["train"]}
    assert files["valid"].isdisjoint(files["test"])
    with pytest.raises(DataError, match="20 of 20 training images leave none"):
        ImageNet(root=str(tmp_path), valid=20).info()
