"""Tables that say several answers a row: splits, numbers in deviations of the training rows, and bad lines by their number."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from kdrun.data.handwritten_digits import Digits
from kdrun.data.numeric_tables import NumericTable
from kdrun.data.tabled_images import TabledImages
from kdrun.data.visible_attributes import DigitAttributes
from kdrun.errors import DataError
from support.data import assert_as_promised

LINES = ["file,cat,dog,split", "a.png,1,0,train", "b.png,0,1,train", "deep/c.png,1,1,valid", "a.png,0,0,test"]


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(("a.png", "b.png", "deep/c.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (12, 10), (100 * i, 0, 0)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("\n".join(LINES), encoding="utf-8-sig")
    return tmp_path


def test_images_get_the_labels_and_the_split_of_their_lines(folder) -> None:
    part = TabledImages(root=str(folder), size=8)
    splits = assert_as_promised(part)
    assert {name: rows.rows()["label"].tolist() for name, rows in splits.items()} == {
        "train": [[1, 0], [0, 1]],
        "valid": [[1, 1]],
        "test": [[0, 0]],
    }
    assert part.info()["train"].class_names == ("cat", "dog")
    assert torch.equal(splits["train"].rows()["image"][0], splits["test"].rows()["image"][0])
    before = part.fingerprint()
    (folder / "b.png").unlink()
    assert part.fingerprint() != before


def test_numbers_are_in_deviations_of_the_training_rows(folder) -> None:
    (folder / "labels.csv").write_text("file,age,split\na.png,10,train\nb.png,30,train\nb.png,50,test\n")
    splits = assert_as_promised(TabledImages(root=str(folder), size=8, kind="values"))
    assert [rows.rows()["target"].flatten().tolist() for rows in splits.values()] == [[-1, 1], [3]]
    assert splits["test"].info.extra == {"target_mean": [20.0], "target_std": [10.0]}


def test_columns_that_are_named_are_enough_to_plan_without_data() -> None:
    known = TabledImages(root="nowhere", columns=["cat", "dog"], size=8).info()
    assert (known["test"].classes, known["test"].columns["label"].shape) == (2, (2,))


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["file,cat", "a.png,2"], {}, "labels.csv:2: the label cat holds (1) or not (0), got 2"),
        (["file,cat", "a.png,1", "b.png,"], {}, "labels.csv:3: cat is a number, got ''"),
        (["file,cat", "a.png,nan"], {"kind": "values"}, "labels.csv:2: cat is a finite number"),
        (["file,cat", "a.png,1"], {"columns": ["cap"]}, "has no column 'cap' (did you mean 'cat'?)"),
        (["file,cat,split", "a.png,1,tran"], {}, "labels.csv:2: split is one of train, valid, test, got 'tran'"),
        (["file,cat,split", "a.png,1,test"], {}, "has no rows to train on"),
        (["picture,cat", "1,1"], {}, "labels.csv:2: the column 'file' names an image"),
        (["file,cat"], {}, "has no rows"),
        (["file,cat,split", "none.png,1,train"], {}, "none.png is missing"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_by_its_line(folder, lines, options, message) -> None:
    (folder / "labels.csv").write_text("\n".join(lines))
    with pytest.raises(DataError) as refused:
        TabledImages(root=str(folder), size=8, **options).load()
    assert message in str(refused.value)


def test_a_table_of_numbers_is_split_the_same_when_it_grows(tmp_path) -> None:
    path = tmp_path / "own.csv"
    lines = [f"{i},{i * i % 7},{3 * i}" for i in range(60)]
    path.write_text("\n".join(["width,height,price", *lines[:40]]))
    before = assert_as_promised(NumericTable(path=str(path), targets=["price"]))
    path.write_text("\n".join(["width,height,price", *lines]))
    after = NumericTable(path=str(path), targets=["price"]).load()
    assert all(len(before[split]) < len(after[split]) for split in ("train", "test"))
    rows = after["train"].rows()
    assert rows["features"].shape[1] == 2
    torch.testing.assert_close(rows["features"].mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows["target"].std(0, correction=0), torch.ones(1))
    torch.testing.assert_close(rows["features"][:, :1], rows["target"])  # three times the width, in deviations
    with pytest.raises(DataError, match=r"needs data\.targets"):
        NumericTable(path=str(path))


def test_attributes_are_those_of_the_digit() -> None:
    labels = assert_as_promised(DigitAttributes(limit=50))["train"]
    digits = Digits(limit=50).load()["train"]
    seven, zero = (int((digits.column("label") == digit).nonzero()[0]) for digit in (7, 0))
    assert labels.column("label")[seven].tolist() == [0, 1, 0, 1, 0]
    assert labels.column("label")[zero].tolist() == [1, 0, 1, 0, 1]
