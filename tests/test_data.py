"""Data sets and transforms: what is promised is what comes, and bad files are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kdrun.data import transforms
from kdrun.data.cifar import PIXELS, Cifar10, Cifar100
from kdrun.data.dataset import few_left_over
from kdrun.data.digits import Digits
from kdrun.data.folder import Folder, ImageNet
from kdrun.data.glyphs import Glyphs
from kdrun.errors import DataError

SMALL = {"per_class": 2, "valid_per_class": 1, "test_per_class": 2, "teacher_per_class": 3}


def agree(part) -> dict:
    """Load, and compare every split with what ``info`` promised."""
    promised, splits = part.info(), part.load()
    for name, info in promised.items():
        rows = splits[name].rows()
        assert len(splits[name]) == info.size
        for column, described in info.columns.items():
            assert rows[column].shape[1:] == described.shape
            assert rows[column].dtype == described.dtype
        assert 0 <= int(rows["label"].min()) <= int(rows["label"].max()) < info.classes
    return splits


def test_digits_are_split_without_overlap() -> None:
    splits = agree(Digits())
    images = torch.cat([splits[s].rows()["image"].flatten(1) for s in ("train", "valid", "test")])
    assert len(images) == 1797
    assert 0 <= images.min() <= images.max() == 1


def test_glyphs_are_repeatable_balanced_and_different_between_splits() -> None:
    splits = agree(Glyphs(**SMALL))
    again = Glyphs(**SMALL).load()
    assert torch.equal(splits["train"].rows()["image"], again["train"].rows()["image"])
    assert torch.bincount(splits["train"].rows()["label"]).tolist() == [2] * 62
    other = Glyphs(**SMALL, seed=1).load()
    assert not torch.equal(splits["train"].rows()["image"], other["train"].rows()["image"])
    still = Glyphs(**SMALL, rotation=0.0, shift=0.0, scale=0.0, noise=0.0, typefaces=["DejaVuSans"]).load()
    train, test = still["train"].rows(), still["test"].rows()
    first = {int(y): x for x, y in zip(train["image"], train["label"], strict=True)}
    assert all(torch.allclose(x, first[int(y)], atol=1e-6) for x, y in zip(test["image"], test["label"], strict=True))


def test_an_unknown_typeface_is_named() -> None:
    with pytest.raises(DataError, match="no typeface 'DejaVuSanz' \\(did you mean 'DejaVuSans'\\?\\)"):
        Glyphs(typefaces=["DejaVuSanz"]).load()


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
    splits = agree(part)
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


@pytest.mark.parametrize(("part", "labels"), [(Cifar10, 1), (Cifar100, 2)])
def test_cifar_is_read_from_binary_records(tmp_path, part, labels) -> None:
    data = part(root=str(tmp_path))
    with pytest.raises(DataError, match="is missing: put the binary version"):
        data.load()
    folder = tmp_path / data.folder
    folder.mkdir()
    record = np.zeros(labels + PIXELS, dtype=np.uint8)
    record[labels - 1] = 7
    record[labels : labels + 1024] = 255
    for name in (*data.train_files, data.test_file):
        (folder / name).write_bytes(record.tobytes() * 3)
    rows = data.load()["train"].rows()
    assert rows["label"].tolist() == [7] * 3 * len(data.train_files)
    red = (1 - data.mean[0]) / data.std[0]
    torch.testing.assert_close(rows["image"][0, 0], torch.full((32, 32), red))
    torch.testing.assert_close(rows["image"][0, 1], torch.full((32, 32), -data.mean[1] / data.std[1]))
    (folder / data.test_file).write_bytes(b"123")
    with pytest.raises(DataError, match="not whole records"):
        data.load()


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"image": torch.rand(16, 3, 8, 8), "label": torch.arange(16)}


def draw(name: str, seed: int = 0, **options) -> dict[str, torch.Tensor]:
    return getattr(transforms, name)(batch(), generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("name", sorted({*transforms.__all__} - {"random_window"}))
def test_transforms_repeat_keep_shapes_and_leave_labels(name) -> None:
    one, same, other = draw(name), draw(name), draw(name, seed=1)
    assert torch.equal(one["image"], same["image"])
    assert not torch.equal(one["image"], other["image"])
    assert one["image"].shape == batch()["image"].shape
    assert torch.equal(one["label"], batch()["label"])


def test_transforms_at_their_limits() -> None:
    image = batch()["image"]
    assert torch.equal(draw("random_horizontal_flip", probability=1.0)["image"], image.flip(3))
    assert torch.equal(draw("random_crop", padding=0)["image"], image)
    torch.testing.assert_close(
        draw("random_affine", degrees=0.0, translate=0.0, scale=0.0)["image"], image, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(draw("random_resized_crop", smallest=1.0, ratio=1.0)["image"], image, atol=1e-5, rtol=0)
    assert (draw("random_erasing", probability=1.0, side=0.25)["image"] == 0).sum().item() == 16 * 3 * 4
    torch.testing.assert_close(draw("gaussian_noise", std=0.0)["image"], image)


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    padded = torch.nn.functional.pad(batch()["image"], (2, 2, 2, 2))
    for row, crop in zip(padded, draw("random_crop", padding=2)["image"], strict=True):
        windows = row.unfold(1, 8, 1).unfold(2, 8, 1)
        assert any(torch.equal(windows[:, i, j], crop) for i in range(5) for j in range(5))


def test_mixup_blends_pairs_by_the_weight_it_reports() -> None:
    mixed = draw("mixup", alpha=1.0)
    other = batch()["image"][mixed["other_label"]]
    weight = mixed["mix"].view(-1, 1, 1, 1)
    torch.testing.assert_close(mixed["image"], weight * batch()["image"] + (1 - weight) * other)
    assert 0 <= mixed["mix"].min() <= mixed["mix"].max() <= 1


@pytest.mark.parametrize(
    ("rows", "batch_size", "left"),
    [(1922, 128, 2), (1550, 128, 0), (132, 128, 4), (1860, 64, 0), (9, 4, 0), (5, 128, 0)],
)
def test_few_rows_left_over_for_the_last_batch(rows, batch_size, left) -> None:
    assert few_left_over(rows, batch_size) == left
