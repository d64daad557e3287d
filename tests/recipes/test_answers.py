"""Students of several labels and of numbers, from a table of one's own to predictions in its words."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """Pictures that are bright or not and reddish or not, and how bright they are in percent."""
    numbers = np.random.default_rng(0)
    (tmp_path / "own").mkdir()
    labels, values = ["file,bright,red"], ["file,brightness"]
    for i in range(60):
        bright, red = numbers.random(2)
        pixels = np.full((8, 8, 3), 200 * bright, dtype=np.uint8)
        pixels[..., 0] += np.uint8(50 * (red > 0.5))
        Image.fromarray(pixels).save(tmp_path / "own" / f"{i}.png")
        labels.append(f"{i}.png,{int(bright > 0.5)},{int(red > 0.5)}")
        values.append(f"{i}.png,{100 * bright}")
    (tmp_path / "own/labels.csv").write_text("\n".join(labels))
    (tmp_path / "own/values.csv").write_text("\n".join(values))
    return tmp_path / "own"


WORDS = ("data=image_table", "data.root=own", "data.size=8", "data.augment=[]", "epochs=15", "batch_size=8", "seed=0")
NETS = ("teacher=mlp_tiny", "student=mlp_tiny", "optimizer=adam", "optimizer.lr=0.01")


def test_labels_of_ones_own_table_are_learnt_and_predicted(kdrun, folder, tmp_path) -> None:
    answer = kdrun("run", "multi_label", *WORDS, *NETS)
    assert answer.code == 0, answer.err
    (run,) = tmp_path.glob("runs/*/*")
    assert json.loads((run / "result.json").read_text())["metrics"]["test.mean_average_precision"] > 0.85
    told = kdrun("predict", str(run), "own")
    assert told.code == 0, told.err
    rows = list(csv.DictReader(told.out.splitlines()))
    assert list(rows[0]) == ["file", "bright", "red"]
    truth = {line["file"]: line for line in csv.DictReader((folder / "labels.csv").read_text().splitlines())}
    right = [(float(row["bright"]) > 0.5) == (truth[row["file"]]["bright"] == "1") for row in rows]
    assert np.mean(right) > 0.85
    assert "the model gives labels" in kdrun("evaluate", str(run), "own").err


def test_numbers_of_ones_own_table_are_predicted_in_their_unit(kdrun, folder, tmp_path) -> None:
    answer = kdrun("run", "regression", *WORDS, *NETS, "data.kind=values", "data.table=values.csv", "row=batch.image")
    assert answer.code == 0, answer.err
    (run,) = tmp_path.glob("runs/*/*")
    assert kdrun("export", str(run), "--output", "student.safetensors").code == 0
    rows = list(csv.DictReader(kdrun("predict", "student.safetensors", "own").out.splitlines()))
    truth = {
        line["file"]: float(line["brightness"])
        for line in csv.DictReader((folder / "values.csv").read_text().splitlines())
    }
    errors = [abs(float(row["brightness"]) - truth[row["file"]]) for row in rows]
    assert np.mean(errors) < 10
    assert np.std(list(truth.values())) > 20


@pytest.mark.parametrize("method", ["none", "kd", "kd transfer.distance=l1_feature_loss"])
def test_a_table_without_images_serves_both_protocols(kdrun, tmp_path, method) -> None:
    lines = [f"{i % 13},{i % 7},{int(i % 13 > 6)},{2 * (i % 7)}" for i in range(80)]
    (tmp_path / "own.csv").write_text("\n".join(["a,b,large,double", *lines]))
    words = (
        "data=numeric_table",
        "data.path=own.csv",
        "row=batch.features",
        "epochs=1",
        *NETS,
        *f"transfer={method}".split(),
    )
    assert kdrun("run", "regression", *words, "data.targets=[double]").code == 0
    if "distance" not in method:
        answer = kdrun("run", "multi_label", *words, "data.targets=[large]", "data.kind=labels")
        assert answer.code == 0, answer.err
