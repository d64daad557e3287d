"""An error inside code of a plug-in names the plug-in's file and line, wherever it is called from; nobody calls it a fault of kdrun."""

from __future__ import annotations

from pathlib import Path

import pytest

PARTS = '''
import torch
from torch import Tensor, nn

from kdrun.data.dataset import Dataset
from kdrun.registry import check_of, data, metric, model, op, select, stage
from kdrun.runtime.artifacts import Artifact, Table


@op
def surprising(logits: Tensor) -> Tensor:
    """It works on fakes alone."""
    return logits.mean() if type(logits).__name__ == "FakeTensor" else {}["op"]


@select
def nobody(data: Dataset, *, share: int = 0) -> Dataset:
    """It divides by nothing."""
    return data.select(torch.tensor([len(data) // share]))


@metric
def unknown(logits: Tensor) -> float:
    """It has another kind of error."""
    raise NotImplementedError("metric")


@model(name="broken")
class Broken(nn.Module):
    """It cannot be called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> Tensor:
        return torch.zeros([]).view({}["model"])


@data(name="lost", fields=("train", "valid", "test"))
class Lost:
    """It knows what it has, and has it not."""

    def info(self):
        from kdrun.data.handwritten_digits import Digits

        return Digits().info()

    def load(self):
        return [][5]


@stage(value="table", random=False)
def strict(data: Dataset) -> dict[str, Artifact]:
    """It is checked."""
    return {"": Table([{"a": 1}])}


@check_of("strict")
def check_strict(node, graph) -> None:
    """It is wrong about what it gets."""
    node.nothing
'''

RECIPE = """# @package _global_
defaults: [{override /protocol: null}, {override /transfer: null}, {override /student: mlp_tiny}, {override /data: digits}]
data: {limit: 64}
epochs: 1
graph:
"""
TRAINED = """
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, steps: 1,
        step: {nodes: {s: {call: model, from: [batch.image]}, x: {op: surprising, from: [s.logits]}}, minimize: {x: 1}, train: [model], optimizer: optimizer}}
  test: {stage: evaluate, from: [fit, data.test], metrics: [accuracy]}
"""
SEEN = "  test: {stage: evaluate, from: [student, data.test], metrics: [%s]}\n"
CHOSEN = "  rows: {stage: select, by: nobody, from: [data.train]}\n  start: {stage: initialize, by: random_weights, from: [student, rows]}\n"

OP = '{}["op"]'

CASES = {
    "op": ("run", TRAINED, OP, 1, "graph.fit: the plug-in fails with KeyError: 'op'"),
    "metric": ("run", SEEN % "unknown", "raise NotImplementedError", 1, "the plug-in fails with NotImplementedError"),
    "model": ("run", SEEN % "accuracy" + "student: {model: broken}\n", '{}["model"]', 1, "KeyError: 'model'"),
    "data": ("run", SEEN % "accuracy" + "data: {data: lost}\n", "[][5]", 1, "fails with IndexError"),
    "check": ("check", "  test: {stage: strict, from: [data.test]}\n", "node.nothing", 2, "fails with AttributeError"),
    "check, run": (
        "run",
        "  test: {stage: strict, from: [data.test]}\n",
        "node.nothing",
        2,
        "fails with AttributeError",
    ),
}


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(PARTS.splitlines(), 1) if text in line)


def plugin(folder: Path, graph: str) -> None:
    """The plug-in, and a recipe that uses it; of a group that the recipe says itself, no option is chosen."""
    (folder / "parts.py").write_text(PARTS)
    head = RECIPE
    for name, option in (("student", "mlp_tiny"), ("data", "digits")):
        if f"\n{name}: " in graph:
            head = head.replace(f"/{name}: {option}", f"/{name}: null").replace(f"\n{name}: {{limit: 64}}", "")
    (folder / "study.yaml").write_text(head + graph)


@pytest.mark.parametrize("name", CASES)
def test_an_error_of_a_plugin_names_its_line(kdrun, tmp_path: Path, monkeypatch, name: str) -> None:
    command, graph, line, code, told = CASES[name]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plugin(tmp_path, graph)
    answer = kdrun(command, "study.yaml", "plugins=[parts.py]")
    assert answer.code == code, answer.err
    (said,) = [text for text in answer.err.splitlines() if text.startswith("kdrun: ")]
    assert f"parts.py:{line_of(line)}" in said
    assert told in said
    assert "fault of kdrun" not in answer.err
    assert "Traceback" not in answer.err


def test_a_shape_that_a_plugin_cannot_take_names_its_line_in_the_plan(kdrun, tmp_path: Path) -> None:
    plugin(tmp_path, TRAINED)
    content = (tmp_path / "parts.py").read_text()
    (tmp_path / "parts.py").write_text(content.replace("return logits.mean() if", "return logits @ logits if"))
    answer = kdrun("plan", "study.yaml", "plugins=[parts.py]")
    assert answer.code == 2
    assert f"(parts.py:{line_of('return logits.mean()')})" in answer.err


def test_an_error_while_a_plugin_is_imported_names_its_line(kdrun, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plugin(tmp_path, TRAINED)
    (tmp_path / "parts.py").write_text(PARTS + "\nraise ValueError('at once')\n")
    answer = kdrun("plan", "study.yaml", "plugins=[parts.py]")
    assert answer.code == 2
    assert f"parts.py:{len(PARTS.splitlines()) + 2}" in answer.err
    assert "fault of kdrun" not in answer.err


@pytest.mark.slow
def test_a_sweep_in_processes_tells_the_line_of_a_plugin_and_goes_on(kdrun, tmp_path: Path) -> None:
    plugin(tmp_path, TRAINED)
    text = (tmp_path / "study.yaml").read_text()
    (tmp_path / "study.yaml").write_text(
        text
        + "arms: {odd: {}, even: {fit.step.nodes.x: {op: cross_entropy, from: [s.logits, batch.label]}}}\nseeds: 2\n"
    )
    answer = kdrun("reproduce", "study.yaml", "plugins=[parts.py]", "--jobs=2")
    assert answer.code == 1
    assert answer.err.count(f"parts.py:{line_of(OP)}") >= 2
