"""Rendered characters: repeatable, balanced, different between splits."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.glyph_images import Glyphs
from kdrun.errors import DataError
from support.data import assert_as_promised

SMALL = {"per_class": 2, "valid_per_class": 1, "test_per_class": 2, "teacher_per_class": 3}


def test_glyphs_are_repeatable_balanced_and_different_between_splits() -> None:
    splits = assert_as_promised(Glyphs(**SMALL))
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


def test_fitted_glyphs_touch_opposite_sides_and_reach_one() -> None:
    few = {"per_class": 4, "valid_per_class": 1, "test_per_class": 1, "teacher_per_class": 1}
    part = Glyphs(**few, characters="0189", size=8, shift=0.0, noise=0.0, shear=0.15, fit=True, typefaces=3)
    image = part.load()["train"].rows()["image"]
    assert torch.equal(image.amax((1, 2, 3)), torch.ones(16))
    assert (image[:, 0, 0].amax(1) > 0.1).all()
    assert (image[:, 0, -1].amax(1) > 0.1).all()  # digits are taller than wide
    upright = Glyphs(**few, characters="1", size=20, rotation=0.0, shift=0.0, scale=0.0, noise=0.0, typefaces=1)
    slanted = Glyphs(
        **few, characters="1", size=20, rotation=0.0, shift=0.0, scale=0.0, noise=0.0, typefaces=1, shear=0.3
    )
    first, second = (p.load()["train"].rows()["image"][0, 0] for p in (upright, slanted))
    torch.testing.assert_close(first.sum(1), second.sum(1), atol=0.2, rtol=0.1)  # shear moves along rows alone
    assert not torch.allclose(first, second, atol=0.1)
