"""What is no number ends the stage in which it arises, with its name and a record of the run: nothing reads it, nothing is stored."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import save_file

from kdrun.errors import Diverged
from kdrun.models.building import build
from kdrun.runtime.artifacts import Data, Model, Table, Tensors
from kdrun.runtime.soundness import refuse_unsound
from support.recipes import ALONE, write_recipe

PLUGIN = '''import torch
from torch import Tensor
from torch.nn import Module
from kdrun.data.dataset import Dataset
from kdrun.registry import label, merge, op, reduce


@merge
def spoilt_weights(model: Module) -> Module:
    """A model of which one weight is no number."""
    next(model.parameters()).data[0] = float("nan")
    return model


@reduce(random=False)
def spoilt_centres(data: Dataset) -> Tensor:
    """Two rows, of which the second is no number."""
    return torch.tensor([[1.0, 2.0], [float("nan"), 0.0]])


@label(random=False)
def spoilt_column(data: Dataset) -> Dataset:
    """A column of which one row is no number."""
    column = torch.zeros(len(data))
    column[3] = float("nan")
    return data.with_columns({"spoilt": column})


@op
def spoilt_values(values: Tensor) -> Tensor:
    """Values, of which the first row of a batch is no number."""
    return torch.cat([values[:1] * float("nan"), values[1:]])
'''

START = "start: {stage: initialize, by: random_weights, from: [student, data.train]}"
SAID = "step: {nodes: {s: {call: model, from: [batch.image]}, v: {op: spoilt_values, from: [s.logits]}}}"
KINDS = {
    "weights": (
        f"graph: {{{START}, end: {{stage: merge, by: spoilt_weights, from: [start]}}}}\nresults: [end]",
        r"graph\.end: the weight '[\w.]+' is NaN in 1 of \d+ rows",
    ),
    "tensors": (
        "graph: {end: {stage: reduce, by: spoilt_centres, from: [data.train]}}\nresults: [end]",
        r"graph\.end: the result is NaN in 1 of 2 rows",
    ),
    "columns": (
        "graph: {end: {stage: label, by: spoilt_column, from: [data.valid]}}\nresults: [end]",
        r"graph\.end: the column 'spoilt' is NaN in 1 of \d+ rows",
    ),
    "scored": (
        f"graph: {{{START}, end: {{stage: measure, from: {{model: start, data: data.test}}, {SAID},"
        " metrics: [{metric: accuracy, from: [v, batch.label]}]}}",
        r"graph\.end: 'v', which is scored, is NaN in 2 of \d+ rows",
    ),
    "evaluated": (
        "graph: {end: {stage: evaluate, from: [student, data.test], metrics: [accuracy]}}",
        r"graph\.end: what the model says \('logits'\) is NaN in (\d+) of \1 rows",
    ),
    "predicted": (
        "graph: {end: {stage: label, by: model_answer, from: [student, data.valid], column: answer}}\nresults: [end]",
        r"graph\.end: what the model says \('logits'\) is NaN in (\d+) of \1 rows",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_stage_names_what_is_no_number(kdrun, tmp_path, kind) -> None:
    body, said = KINDS[kind]
    weights = ", weights: nan.safetensors" if "[student" in body and "start" not in body else ""
    if weights:
        module = build({"model": "mlp", "hidden": [4], "in_features": 64, "num_classes": 10}, seed=(0,))
        state = {name: value.detach() for name, value in module.state_dict().items()}
        save_file(
            {**state, next(iter(state)): torch.full_like(next(iter(state.values())), torch.nan)}, "nan.safetensors"
        )
    (tmp_path / "mine.py").write_text(PLUGIN)
    model = f"student: {{model: mlp, hidden: [4]{weights}}}\ndata: {{limit: 64}}\n"
    answer = kdrun("run", str(write_recipe(tmp_path, model + body, ALONE)), "plugins=[mine.py]", "data=digits")
    assert answer.code == 1, answer.out
    assert re.search(said, answer.err), answer.err
    (path,) = tmp_path.glob("runs/*/*/result.json")
    record = json.loads(path.read_text())
    assert record["state"] == "failed"
    assert re.search(said, record["error"])


def test_what_is_infinite_or_undefined_on_purpose_is_kept() -> None:
    mask = torch.tensor([0.0, -torch.inf])
    refuse_unsound(
        {"": Model({"model": "mlp"}, {"mask": mask}), "a": Tensors({"": mask}), "b": Table([{"auroc": torch.nan}])}
    )
    refuse_unsound({"": Tensors({"ids": torch.tensor([1, 2])}), "a": Model({"model": "mlp"}, None)})
    refuse_unsound({"": Data({}, "", None, {"label": torch.tensor([1])})})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_is_looked_at(dtype) -> None:
    with pytest.raises(Diverged, match=r"'scores' of 'x' is NaN in 1 of 3 rows"):
        refuse_unsound({"x": Tensors({"scores": torch.tensor([[1.0], [torch.nan], [0.0]], dtype=dtype)})})
    with pytest.raises(Diverged, match="the result is NaN$"):
        refuse_unsound({"": Tensors({"": torch.tensor(torch.nan, dtype=dtype)})})
