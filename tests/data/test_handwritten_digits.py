"""Handwritten digits: splits without overlap, and a larger canvas."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.handwritten_digits import Digits
from kdrun.errors import DataError
from support.data import assert_as_promised


def test_digits_are_split_without_overlap() -> None:
    splits = assert_as_promised(Digits())
    images = torch.cat([splits[s].rows()["image"].flatten(1) for s in ("train", "valid", "test")])
    assert len(images) == 1797
    assert 0 <= images.min() <= images.max() == 1


def test_digits_on_a_canvas() -> None:
    plain, placed = Digits().load(), Digits(canvas=14, shift=3).load()
    assert torch.equal(placed["test"].rows()["image"][:, :, 3:11, 3:11], plain["test"].rows()["image"])
    moved = placed["shifted"].rows()["image"]
    assert torch.allclose(moved.sum((1, 2, 3)), placed["test"].rows()["image"].sum((1, 2, 3)), atol=1e-4)
    assert not torch.equal(moved, placed["test"].rows()["image"])
    assert Digits(size=16).load()["train"].rows()["image"].shape[1:] == (1, 16, 16)
    with pytest.raises(DataError, match="does not hold"):
        Digits(size=16, canvas=14).load()
