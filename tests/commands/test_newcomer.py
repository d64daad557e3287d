"""What a newcomer does first, from README and ``--help`` alone: own images of odd kinds, a big teacher's checkpoint, methods, an export, its use."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

KINDS = ("16-bit", "palette", "transparent", "turned", "float")


def saved(kind: str, grey: np.ndarray, path: Path) -> None:
    """A picture of greys in [0, 1], as one of the kinds in which pictures come."""
    path.parent.mkdir(parents=True, exist_ok=True)
    eight = Image.fromarray((grey * 255).astype(np.uint8)).convert("RGB")
    if kind == "16-bit":
        Image.fromarray((grey * 65535).astype(np.uint16)).save(path.with_suffix(".png"))
    elif kind == "palette":
        eight.quantize(16).save(path.with_suffix(".png"))
    elif kind == "transparent":
        eight.putalpha(Image.new("L", eight.size, 254))
        eight.save(path.with_suffix(".png"))
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter to the right
        eight.save(path.with_suffix(".jpg"), exif=exif)
    else:
        Image.fromarray(grey.astype(np.float32)).save(path.with_suffix(".tiff"))


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Dark and light ones of every kind, in folders as people name them."""
    numbers = np.random.default_rng(0)
    folder = tmp_path / "my pictures (José)"
    for split, count in {"train": 40, "val": 10, "test": 10}.items():
        for name, level in {"dark": 0.25, "light": 0.75}.items():
            for i in range(count):
                grey = np.clip(level + numbers.normal(0, 0.1, (24, 30)), 0, 1)
                saved(KINDS[i % len(KINDS)], grey, folder / split / name / str(i))
    return folder


@pytest.mark.slow
def test_a_newcomers_walk(kdrun, pictures, tmp_path) -> None:
    timm = pytest.importorskip("timm")
    save_file(timm.create_model("test_resnet", num_classes=1000).state_dict(), tmp_path / "big.safetensors")
    own = ("data=folder", f"data.root={pictures}", "data.size=32", "epochs=4", "batch_size=16")
    teacher = ("teacher=timm", "teacher.name=test_resnet")

    refused = kdrun("plan", "kd", *own, *teacher, "teacher.weights=big.safetensors")
    assert refused.code == 2
    (advice,) = [word for word in refused.err.split("; ") if word.startswith("weights={")]
    words = (*own, *teacher, f"teacher.{advice.partition(' leaves')[0]}")
    planned = kdrun("plan", "kd", *words)
    assert planned.code == 0, planned.err

    swept = kdrun("run", "kd", "-m", "transfer=kd,attention,relational", "seed=0,1", *words)
    assert swept.code == 0, swept.err
    rows = [line.split() for line in swept.out.split("\n\n")[-1].splitlines()[2:]]
    assert [row[:2] for row in rows] == [[f"transfer={name}", "2"] for name in ("kd", "attention", "relational")]
    assert max(float(row[2]) for row in rows) > 0.8  # dark from light, whatever the kind of file

    listed = [json.loads(line) for line in kdrun("runs", "--json", "--sort", "test.accuracy").out.splitlines()]
    assert len(listed) == 6
    written = kdrun("export", listed[0]["folder"])
    assert written.code == 0, written.err
    with safe_open(Path(listed[0]["folder"]) / "fit_student.safetensors", "pt") as file:
        about = json.loads(file.metadata()["kdrun"])
    assert about["classes"] == ["dark", "light"]

    exported = f"{listed[0]['folder']}/fit_student.safetensors"
    answers = kdrun("predict", exported, str(pictures / "test"), "--output", "answers.csv")
    assert answers.code == 0, answers.err
    rows = list(csv.DictReader((tmp_path / "answers.csv").read_text().splitlines()))
    assert {Path(row["file"]).parent.name for row in rows} == {"dark", "light"}
    right = sum(Path(row["file"]).parent.name == row["class"] for row in rows) / len(rows)
    assert right == listed[0]["metrics"]["test.accuracy"]
    scored = kdrun("evaluate", exported, str(pictures / "test"), "--json")
    assert json.loads(scored.out)["metrics"]["accuracy"] == right

    again = kdrun("run", "kd", "transfer=none", f"student.weights={listed[0]['folder']}/fit_student.safetensors", *own)
    assert again.code == 0, again.err
    assert torch.isfinite(torch.tensor(float(again.out.split("test.nll")[1].split()[0])))
