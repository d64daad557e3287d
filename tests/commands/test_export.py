"""``export``: a student leaves and comes back with the same answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml

from kdrun import __version__
from support.recipes import QUICK

OWN_OP = '''
from kdrun.registry import op
@op
def plain(x):
    """What it is given."""
    return x
'''


def test_export_round_trips_through_safetensors_and_torch(kdrun, tmp_path) -> None:
    import torch
    from safetensors.torch import load_file

    from kdrun.models.building import build

    kdrun("run", "kd", *QUICK)
    (run,) = [str(p.parent.relative_to(tmp_path)) for p in tmp_path.glob("runs/*/*/result.json")]
    assert kdrun("export", run).code == 0
    weights = load_file(tmp_path / run / "fit_student.safetensors")
    spec = {
        "model": "cnn",
        "channels": [8, 16, 32],
        "kernel_size": 3,
        "num_classes": 10,
        "in_channels": 1,
        "image_size": 8,
    }
    network = build(spec).eval()
    network.load_state_dict(weights)
    assert kdrun("export", run, "--format", "torch").code == 0
    program = torch.export.load(tmp_path / run / "fit_student.pt2").module()
    image = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(program(image), network(image))
    assert (
        "has no stage that gives a model called 'fit_studet' (did you mean 'fit_student'?)"
        in kdrun("export", run, "--stage", "fit_studet").err
    )


def test_what_is_exported_after_a_recomputation_is_the_same_to_the_byte(kdrun, tmp_path) -> None:
    kdrun("run", "kd", *QUICK)
    (run,) = tmp_path.glob("runs/*/*")
    kdrun("export", str(run))
    before = (run / "fit_student.safetensors").read_bytes()
    key = json.loads((run / "keys.json").read_text())["fit_student"]
    (tmp_path / "store" / "objects" / key[:2] / key / "manifest.json").unlink()
    assert "the manifest of" in kdrun("export", str(run)).err
    kdrun("run", "kd", *QUICK)
    assert kdrun("export", str(run)).code == 0
    assert (run / "fit_student.safetensors").read_bytes() == before


def test_a_student_starts_from_an_exported_checkpoint_and_another_architecture_is_refused(kdrun, tmp_path) -> None:
    kdrun("run", "kd", *QUICK)
    (run,) = tmp_path.glob("runs/*/*")
    kdrun("export", str(run), "--output", "student.safetensors")
    assert kdrun("run", "kd", "transfer=none", "student.weights=student.safetensors", *QUICK).code == 0
    wrong = kdrun("run", "kd", "student=mlp_tiny", "student.weights=student.safetensors", *QUICK)
    assert wrong.code == 2
    assert "checkpoint student.safetensors is of another architecture" in wrong.err
    assert "does not exist" in kdrun("run", "kd", "student.weights=none.safetensors", *QUICK).err


@pytest.fixture
def pictures(kdrun, tmp_path):
    """The run of a student on pictures of two kinds."""
    from PIL import Image

    for i in range(40):
        path = tmp_path / "pictures" / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10, 8), (i, 90, 200 * (i % 2))).save(path)
    (tmp_path / "own.py").write_text(OWN_OP)
    words = ["data=folder", "data.root=pictures", "data.size=8", "data.mean=[0.5,0.25,0.125]", "plugins=[own.py]"]
    node = "+graph.fit_student.step.nodes.same={op: plain, from: [ce]}"
    answer = kdrun("run", "kd", "transfer=none", "epochs=1", *words, node, "store=here")
    assert answer.code == 0, answer.err
    (run,) = tmp_path.glob("runs/*/*")
    return run


KNOWN = {
    "classes": ["cat", "dog"],
    "mean": [0.5, 0.25, 0.125],
    "std": [0.25, 0.25, 0.25],
    "resize": 8,
    "background": 1.0,
    "column": "image",
    "shape": [3, 8, 8],
    "dtype": "float32",
}


def test_a_run_is_exported_from_anywhere_after_data_and_parts_have_changed(
    kdrun, pictures, tmp_path, monkeypatch
) -> None:
    from safetensors import safe_open

    os.utime(tmp_path / "pictures" / "cat" / "0.png", (1, 1))
    (tmp_path / "pictures" / "dog" / "1.png").unlink()
    (tmp_path / "own.py").write_text(OWN_OP.replace("return x", "return 2 * x"))
    assert kdrun("export", str(pictures), "--format", "torch").code == 0
    (tmp_path / "own.py").unlink()
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.delenv("KDRUN_STORE")
    files = [tmp_path / f"{i}.safetensors" for i in range(6)]
    for file in files:
        answer = kdrun("export", str(pictures), "--output", str(file))
        assert answer.code == 0, answer.err
    assert len({file.read_bytes() for file in files}) == 1
    with safe_open(files[0], "pt") as opened:
        told = json.loads(opened.metadata()["kdrun"])
    assert told.pop("model")["num_classes"] == 2
    assert told.pop("kdrun") == __version__
    assert told == KNOWN


OWN_MODEL = """
from pathlib import Path

from torch import nn

from kdrun.registry import model

Path("MARK").touch()


@model
def mine(*, num_classes: int = 10) -> nn.Module:
    "A layer. Reads images [batch, 1, 8, 8] and gives logits [batch, num_classes]."
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


def test_a_runs_folder_brings_no_code_with_it(kdrun, tmp_path) -> None:
    (tmp_path / "own.py").write_text(OWN_MODEL)
    kdrun("run", "kd", "transfer=none", "student={model: mine}", "plugins=[own.py]", "store=here", *QUICK)
    (run,) = tmp_path.glob("runs/*/*")
    (tmp_path / "MARK").unlink()
    words = [sys.executable, "-m", "kdrun", "export", str(run), "--format", "torch"]
    answer = subprocess.run(words, capture_output=True, text=True)
    assert (answer.returncode, (tmp_path / "MARK").exists()) == (2, False)
    assert "the model 'mine' comes from a plug-in, which is code: add 'plugins=[" in answer.stderr
    assert kdrun("export", str(run), "--format", "torch", "epochs=3").code == 2
    answer = kdrun("export", str(run), "--format", "torch", "plugins=[own.py]")
    assert answer.code == 0, answer.err


def test_an_onnx_file_stands_alone_and_says_what_it_reads(kdrun, pictures, tmp_path, monkeypatch) -> None:
    import torch

    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    folder, own = tmp_path / "out", torch.onnx.export

    def talkative(*arguments: object, **options: object) -> object:
        print("Applied 7 rules.")
        return own(*arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", talkative)
    answer = kdrun("export", str(pictures), "--format", "onnx", "--output", str(folder / "student.onnx"))
    assert answer.code == 0, answer.err
    assert answer.out.startswith(str(folder / "student.onnx"))
    assert [path.name for path in folder.iterdir()] == ["student.onnx"]
    model = onnx.load(folder / "student.onnx", load_external_data=False)
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["logits"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:] == [3, 8, 8]
    told = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert {name: told[name] for name in ("classes", "mean", "std")} == {
        k: KNOWN[k] for k in ("classes", "mean", "std")
    }
    assert told["kdrun"]["model"]["num_classes"] == 2


def test_a_program_of_torch_says_what_it_reads(kdrun, pictures) -> None:
    import torch

    assert kdrun("export", str(pictures), "--format", "torch").code == 0
    extra = {"kdrun.json": ""}
    torch.export.load(pictures / "fit_student.pt2", extra_files=extra)
    assert json.loads(extra["kdrun.json"])["classes"] == ["cat", "dog"]


def test_any_arm_and_seed_of_a_reproduction_is_exported(kdrun, tmp_path) -> None:
    assert kdrun("reproduce", "kd", "scale=smoke", "seeds=2", "--arms", "kd,scratch", "--jobs", "1").code == 0
    written = []
    for run in sorted(tmp_path.glob("runs/*/reproduce-smoke-arms=kd,scratch/*/")):
        assert kdrun("export", str(run)).code == 0
        written.append((run / "fit_student.safetensors").read_bytes())
    assert len(set(written)) == 4
    assert "has no stage" in kdrun("export", str(run), "--stage", "fit_techer").err
    study = str(run.parent)
    assert kdrun("export", study, "arm=scratch", "seed=1", "--output", "chosen.safetensors").code == 0
    assert (tmp_path / "chosen.safetensors").read_bytes() == (run / "fit_student.safetensors").read_bytes()
    assert run.name == "scratch-seed1"
    assert "add arm=kd or arm=scratch" in kdrun("export", study).err
    assert "has no seed 7" in kdrun("export", study, "arm=kd", "seed=7").err
    card = (tmp_path / "chosen.card.md").read_text()
    assert "| arm | scratch |" in card
    assert "test.accuracy" in card
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "kdrun"


def test_a_program_that_answers_otherwise_than_its_model_is_refused(kdrun, pictures, tmp_path, monkeypatch) -> None:
    import copy

    import torch

    save = torch.export.save

    def broken(program, path, **options) -> None:
        program = copy.deepcopy(program)  # it shares the model's weights
        with torch.no_grad():
            next(iter(program.state_dict.values())).mul_(2)
        save(program, path, **options)

    monkeypatch.setattr(torch.export, "save", broken)
    answer = kdrun("export", str(pictures), "--format", "torch", "--output", "out/student.pt2")
    assert answer.code == 2
    assert "answers otherwise than the model" in answer.err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]",
        '{"fit_student": 3}',
        '{"fit_student": {}}',
        '{"fit_student": {"key": "../../elsewhere", "models": [""], "main": "", "input": {}}}',
        '{"fit_student": {"key": "ab", "models": [], "main": "", "input": {}}}',
    ],
)
def test_models_of_a_folder_that_no_run_wrote_are_refused_in_a_line(kdrun, tmp_path, text) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text('{"state": "finished", "store": "store"}')
    (tmp_path / "run" / "models.json").write_text(text)
    answer = kdrun("export", "run")
    assert (answer.code, answer.err) == (
        2,
        "kdrun: run is no folder of a finished run; `kdrun runs` lists them\n",
    )
