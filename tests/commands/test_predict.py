"""``predict`` and ``evaluate``: images from outside are prepared as those of the training were, whatever the model came in."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

WORDS = (
    "data=folder",
    "data.root=pictures",
    "data.size=8",
    "data.resize=12",
    "data.mean=[0.4,0.5,0.6]",
    "data.std=[0.2,0.3,0.4]",
)
FOLDER = "pictures/test"


@pytest.fixture
def run(kdrun, tmp_path) -> Path:
    """The folder of a run whose student tells red from green and from blue pictures, of odd shapes and partly transparent."""
    numbers = np.random.default_rng(0)
    for split, count in {"train": 12, "valid": 4, "test": 6}.items():
        for channel, name in enumerate(("blau", "grün", "rot")):
            for i in range(count):
                pixels = numbers.integers(0, 256, (18, 14 + i, 4), dtype=np.uint8)
                pixels[..., channel] = pixels[..., channel] // 2 + 100
                path = tmp_path / "pictures" / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels, "RGBA").save(path)
    answer = kdrun("run", "kd", "transfer=none", "student=cnn_tiny", "epochs=3", "batch_size=8", *WORDS)
    assert answer.code == 0, answer.err
    (folder,) = tmp_path.glob("runs/*/*")
    return folder


@pytest.mark.parametrize("kind", ["run", "safetensors", "torch", "onnx"])
def test_an_evaluation_finds_what_the_run_found(kdrun, run, kind) -> None:
    source, trust = run, ["--trust"] if kind == "torch" else []
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    if kind != "run":
        written = kdrun("export", str(run), "--format", kind)
        assert written.code == 0, written.err
        source = Path(written.out.split("  (")[0].split(", ")[0])  # the weights; a card lies beside them
    found = kdrun("evaluate", str(source), FOLDER, "--json", "--metrics", "accuracy,nll", *trust)
    assert found.code == 0, found.err
    told = json.loads(found.out)
    reached = json.loads((run / "result.json").read_text())["metrics"]
    assert told["metrics"]["accuracy"] == reached["test.accuracy"]
    assert told["metrics"]["nll"] == pytest.approx(reached["test.nll"], rel=1e-5)
    assert [(one["class"], one["images"]) for one in told["classes"]] == [("blau", 6), ("grün", 6), ("rot", 6)]
    assert np.mean([one["accuracy"] for one in told["classes"]]) == pytest.approx(reached["test.accuracy"])


def test_an_evaluation_is_read_as_a_table_and_kept_with_every_image(kdrun, run, tmp_path) -> None:
    told = kdrun("evaluate", str(run), FOLDER, "--output", "found.json")
    assert told.code == 0, told.err
    assert [line.split()[0] for line in told.out.split("\n\n")[0].splitlines()[2:]] == [
        "accuracy",
        "f1_score",
        "nll",
        "calibration_error",
    ]
    kept = json.loads((tmp_path / "found.json").read_text())
    right = sum(image["label"] == image["class"] for image in kept["images"])
    assert right / len(kept["images"]) == kept["metrics"]["accuracy"]


def test_every_image_gets_its_likeliest_classes(kdrun, run, tmp_path) -> None:
    (tmp_path / FOLDER / "deep/er").mkdir(parents=True)
    Image.new("L", (30, 20), 200).save(tmp_path / FOLDER / "deep/er/ä b.JPG")
    printed = kdrun("predict", str(run), FOLDER, "--top", "9", "--batch-size", "5")
    assert printed.code == 0, printed.err
    rows = list(csv.DictReader(printed.out.splitlines()))
    assert list(rows[0]) == ["file", *(f"{word}{i}" for i in ("", "_2", "_3") for word in ("class", "probability"))]
    assert [row["file"] for row in rows] == sorted(
        path.relative_to(tmp_path / FOLDER).as_posix() for path in (tmp_path / FOLDER).rglob("*.*")
    )
    for row in rows:
        shares = [float(row[f"probability{i}"]) for i in ("", "_2", "_3")]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
    told = kdrun("predict", str(run), FOLDER, "--output", "deep/answers.json")
    assert told.out == "deep/answers.json  (19 images)\n"
    kept = json.loads((tmp_path / "deep/answers.json").read_text())
    assert [one["class"] for one in kept] == [row["class"] for row in rows]
    alone = kdrun("predict", str(run), f"{FOLDER}/rot/0.png", "--json")
    assert json.loads(alone.out)[0]["class"] == next(row["class"] for row in rows if row["file"] == "rot/0.png")


def test_a_broken_image_is_named_and_left_out_only_if_told_so(kdrun, run, tmp_path) -> None:
    (tmp_path / FOLDER / "rot/3.png").write_bytes(b"no image")
    for command in ("predict", "evaluate"):
        refused = kdrun(command, str(run), FOLDER)
        assert (refused.code, refused.out) == (2, "")
        assert "rot/3.png is broken" in refused.err
        answer = kdrun(command, str(run), FOLDER, "--skip-broken", "--output", "found.csv")
        assert answer.code == 0
        assert "left out: the image" in answer.err
        assert len((tmp_path / "found.csv").read_text().splitlines()) == 1 + 17


def test_a_student_of_images_without_names_or_deviation_reads_folders_of_numbers(kdrun, tmp_path) -> None:
    from kdrun.data.handwritten_digits import Digits

    kdrun("run", "kd", "transfer=none", "epochs=2", "data.limit=256")
    (run,) = tmp_path.glob("runs/*/*")
    test = Digits().load()["test"].rows(torch.arange(60))
    for i, (image, label) in enumerate(zip(test["image"], test["label"].tolist(), strict=True)):
        path = tmp_path / "digits" / str(label) / f"{i}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)
    found = json.loads(kdrun("evaluate", str(run), "digits", "--json").out)
    import kdrun as library

    student = library.compose("kd", ["transfer=none", "epochs=2", "data.limit=256"])
    module = library.run(student).model("fit_student")
    right = (module(test["image"]).argmax(1) == test["label"]).double().mean().item()
    assert found["metrics"]["accuracy"] == pytest.approx(right)
    (tmp_path / "digits/1").rename(tmp_path / "digits/one")
    refused = kdrun("evaluate", str(run), "digits")
    assert "has a folder 'one', which is no class of the model" in refused.err
    assert "folders bear their numbers" in refused.err


def test_a_program_is_code_and_is_loaded_for_who_trusts_it_alone(kdrun, run, tmp_path) -> None:
    (tmp_path / "strange.pt2").write_bytes(b"whatever it does")
    refused = kdrun("predict", "strange.pt2", FOLDER)
    assert refused.code == 2
    assert "strange.pt2 is a program, and loading it may do all that code may: add --trust" in refused.err
    assert "cannot read strange.pt2" in kdrun("predict", "strange.pt2", FOLDER, "--trust").err


def damaged(path: Path, told: object) -> str:
    from safetensors.torch import save_file

    text = told if isinstance(told, str) else json.dumps(told)
    save_file({"weight": torch.zeros(2)}, path, metadata={"kdrun": text})
    return path.name


READS = {"column": "image", "shape": [3, 8, 8], "dtype": "float32"}
ELSEWHERE = {"model": "transformers", "name": "/nowhere", "pretrained": True, "num_classes": 2}
MODEL = {"model": "mlp", "in_features": 192, "num_classes": 2}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("[", "cannot read odd.safetensors"),
        ({}, "odd.safetensors does not say what its model reads"),
        ({**READS, "shape": [3, -8, 8], "model": MODEL}, "says something odd of itself: shape.1"),
        ({**READS, "shape": [3, 8, 10**9], "model": MODEL}, "says something odd of itself: shape.2"),
        ({**READS, "classes": ["\x1b[2J"], "model": MODEL}, "a class whose name steers a terminal"),
        ({**READS, "model": {}}, "does not say which model its weights are of"),
        ({**READS, "model": {"model": "os.system"}}, "os.system"),
        ({**READS, "model": {**MODEL, "num_classes": "many"}}, "'many' does not fit num_classes"),
        ({**READS, "model": MODEL}, "is of another architecture"),
        ({**READS, "model": ELSEWHERE}, "would read '/nowhere', outside of the working folder"),
    ],
)
def test_what_an_export_says_of_itself_is_not_believed(kdrun, tmp_path, told, message) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    refused = kdrun("predict", damaged(tmp_path / "odd.safetensors", told), "a.png")
    assert refused.code == 2
    assert message in refused.err


def test_models_that_read_no_images_or_give_no_classes_are_refused(kdrun, tmp_path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    from safetensors.torch import save_file

    from kdrun.models.building import build

    told = {**READS, "column": "tokens", "model": MODEL}
    save_file(build(MODEL).state_dict(), tmp_path / "text.safetensors", metadata={"kdrun": json.dumps(told)})
    text = "text.safetensors"
    assert "reads 'tokens', no images" in kdrun("predict", text, "a.png").err
    for words, message in {
        ("none.safetensors", "a.png"): "there is no file none.safetensors",
        ("a.png", "a.png"): "a.png is no exported model: names of those end in .safetensors, .pt2, .onnx",
        ("text.safetensors", "a.png", "--top", "0"): "expected a number from 1 on, got '0'",
        ("text.safetensors", "a.png", "--output", "a.xls"): "--output is a .csv or .json file",
        ("text.safetensors", "a.png", "epochs=3"): "of overrides it takes plugins=[...] alone",
    }.items():
        refused = kdrun("predict", *words)
        assert refused.code == 2
        assert message in refused.err
