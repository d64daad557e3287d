"""Images with sentences."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from kdrun.data.captioned_images import COLOURS, PLACES, CaptionedFolder, CaptionedGlyphs
from kdrun.errors import DataError
from support.data import assert_as_promised


def glyphs(**options) -> CaptionedGlyphs:
    given = {"characters": "37Ab", "per_class": 12, "valid_per_class": 2, "test_per_class": 2, "max_tokens": 64}
    return CaptionedGlyphs(tokenizer="characters", **{**given, **options})


def test_a_sentence_says_class_colour_and_place_or_leaves_the_latter_out() -> None:
    part = glyphs(per_class=150)
    splits = assert_as_promised(part)
    rows, said = splits["train"].rows(), splits["captions"].column("tokens")
    assert len(said.unique(dim=0)) == len(said) == 4 * 7 * 5
    number, place = rows["caption"] // 5, rows["caption"] % 5
    assert torch.equal(number // 7, rows["label"])
    assert (number % 7 == len(COLOURS)).double().mean() == pytest.approx(1 / 3, abs=0.06)
    assert (place == len(PLACES)).double().mean() == pytest.approx(1 / 3, abs=0.06)
    named = (number % 7 == list(COLOURS).index("white")) & (rows["label"] == 1)
    assert rows["image"][named].amax((2, 3)).mean() > 0.95
    dark = (number % 7 == list(COLOURS).index("black")) & (rows["label"] == 1)
    assert rows["image"][dark].amin((2, 3)).mean() < 0.1


def test_a_draw_depends_on_its_seed_alone() -> None:
    first, again, other = (glyphs(seed=seed).load()["test"].column("image") for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def written(root, lines) -> CaptionedFolder:
    for name in ("a", "b", "c"):
        Image.new("RGB", (20, 30), (255, 0, 0)).save(root / f"{name}.png")
    (root / "captions.csv").write_text("\n".join(lines))
    return CaptionedFolder(root=str(root), size=8, tokenizer="characters", max_tokens=12)


def test_pairs_are_read_from_a_table_and_each_sentence_is_kept_once(tmp_path) -> None:
    lines = ["file,caption,split", "a.png,red,train", "a.png,a red one,train", "b.png,red,train", "c.png,else,test"]
    part = written(tmp_path, lines)
    splits = assert_as_promised(part)
    assert splits["train"].column("caption").tolist() == [0, 1, 0]
    assert splits["test"].column("caption").tolist() == [2]
    assert len(splits["captions"]) == 3
    image = splits["train"].rows()["image"]
    assert image.shape == (3, 3, 8, 8)
    assert image[:, 0].min() == 1
    assert image[:, 1:].max() == 0


def test_all_sentences_of_an_image_stay_in_one_split(tmp_path) -> None:
    lines = ["file,caption", *(f"{name}.png,{name}{i}" for name in "abc" for i in range(5))]
    part = written(tmp_path, lines)
    part.shares = {"valid": 0.1, "test": 0.1}
    seen = [set((rows.column("caption") // 5).tolist()) for name, rows in part.load().items() if name != "captions"]
    assert sum(map(len, seen)) == 3


def test_without_its_table_a_folder_is_planned_and_a_broken_table_is_named(tmp_path) -> None:
    known = CaptionedFolder(root=str(tmp_path), size=8, pairs=100).info()
    assert known["train"].columns["image"].shape == (3, 8, 8)
    assert [known[name].size for name in ("train", "valid", "test", "captions")] == [90, 5, 5, 100]
    with pytest.raises(DataError, match="has no column 'caption'"):
        written(tmp_path, ["file,text", "a.png,red"]).load()
    with pytest.raises(DataError, match=r"captions.csv:3: a line has a file and a caption"):
        written(tmp_path, ["file,caption", "a.png,red", "b.png,"]).load()
