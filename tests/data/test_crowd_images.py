"""Rendered and annotated crowds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from kdrun.data.crowd_images import AnnotatedCrowds, Crowds
from kdrun.errors import DataError


def test_rendered_crowds_count_their_heads() -> None:
    options = {"train": 3, "valid": 1, "test": 2, "fewest": 5, "most": 9}
    found = Crowds(**options).load()["train"].rows()
    assert found["image"].shape == (3, 3, 96, 96)
    assert torch.allclose(found["density"].sum((1, 2, 3)), found["count"], atol=1e-3)
    assert ((found["count"] >= 5) & (found["count"] <= 9)).all()
    assert torch.equal(found["image"], Crowds(**options).load()["train"].rows()["image"])
    with pytest.raises(DataError, match="9 heads at least and 3 at most"):
        Crowds(fewest=9, most=3)


def test_annotated_crowds_from_json(tmp_path) -> None:
    options = {"root": str(tmp_path), "height": 64, "width": 64}
    with pytest.raises(DataError, match=r"no pictures for train in .*expected .*NAME\.jpg"):
        AnnotatedCrowds(**options).load()
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (128, 64)).save(tmp_path / split / "a.jpg")
        (tmp_path / split / "a.json").write_text(json.dumps([[64, 32], [2, 2], [200, 60]]))
    row = AnnotatedCrowds(**options).load()["train"].rows()
    assert row["count"].tolist() == [2.0], "one head lies outside the picture"
    assert row["density"].sum().item() == pytest.approx(2.0, abs=1e-3)
    assert row["density"][0, 0, 4:].sum() == pytest.approx(0.0, abs=0.1), "the picture fills the upper half alone"
    (tmp_path / "train" / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"are broken: expected \[\[x, y\]"):
        AnnotatedCrowds(**options).load()["train"].rows()
    (tmp_path / "train" / "a.json").unlink()
    with pytest.raises(DataError, match=r"the heads of .*a\.jpg are missing"):
        AnnotatedCrowds(**options).load()


def test_annotated_crowds_as_published(tmp_path) -> None:
    from scipy.io import savemat

    for split in ("train_data", "test_data"):
        (tmp_path / split / "images").mkdir(parents=True)
        (tmp_path / split / "ground_truth").mkdir()
        Image.new("RGB", (64, 64)).save(tmp_path / split / "images" / "IMG_1.jpg")
        location = np.zeros((1, 1), dtype=[("location", object), ("number", object)])
        location[0, 0] = (np.array([[10.0, 20.0], [30.0, 40.0]]), 2)
        info = np.empty((1, 1), dtype=object)
        info[0, 0] = location
        savemat(tmp_path / split / "ground_truth" / "GT_IMG_1.mat", {"image_info": info})
    found = AnnotatedCrowds(root=str(tmp_path), height=64, width=64, valid_share=0.0, deviation=1.0).load()["test"]
    row = found.rows()
    assert row["count"].tolist() == [2.0]
    assert row["density"][0, 0, 2, 1] > 0.4, "the head at x 10, y 20"
