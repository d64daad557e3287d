"""Rows that are held out are handed to methods without the columns that they are judged by, when planned and when run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdrun.data.dataset import Column, DataInfo, FileDataset, MemoryDataset
from kdrun.data.shown import showing
from kdrun.errors import InputError
from support.recipes import ADAPTED_TO_TEST, NO_TRANSFER, write_recipe

FREE = "transductive: {data.test: [image]}\n" + ADAPTED_TO_TEST

# A part that is planned without being run, and tells which columns it was handed.
NOSY = """
from kdrun.errors import InputError
from kdrun.registry import select, shape_of

@select
def nosy(data: Dataset) -> Dataset:
    raise InputError(f"it sees {', '.join(sorted(data.rows()))}")

@shape_of("select", "nosy")
def all_rows(data: Dataset) -> Dataset:
    return data
"""


def refused(session) -> str:
    with pytest.raises(InputError) as caught:
        session.plan()
    return caught.value.message


def test_a_method_learns_from_inputs_and_is_judged_by_labels(session, tmp_path: Path) -> None:
    found = session(write_recipe(tmp_path, FREE), "data.limit=64").run()
    assert 0 <= found.metrics["test.accuracy"] <= 1


def test_a_step_that_reads_labels_is_told_why_there_are_none(session, tmp_path: Path) -> None:
    reads = "{m: {call: model, from: [batch.image]}, sure: {op: cross_entropy, from: [m.logits, batch.label]}}"
    message = refused(session(write_recipe(tmp_path, FREE), f"adapt.step.nodes={reads}"))
    assert "'label' of data.test is held out" in message


def test_a_choice_by_labels_is_found_whether_its_part_can_be_planned_or_not(session, tmp_path: Path) -> None:
    name = write_recipe(tmp_path, FREE)
    assert "reads 'label'" in refused(session(name, "+asked.balance=label"))
    assert "select by of_classes reads 'label'" in refused(
        session(name, "asked={stage: select, by: of_classes, from: [data.test], classes: 2}")
    )


def test_a_stage_is_handed_the_columns_that_it_may_see(session, tmp_path: Path) -> None:
    (tmp_path / "nosy.py").write_text(NOSY)
    own = session(
        write_recipe(tmp_path, FREE), "asked={stage: select, by: nosy, from: [data.test]}", "plugins=[nosy.py]"
    )
    own.plan()
    with pytest.raises(InputError, match="it sees image, index$"):
        own.run()


def test_labels_that_a_method_gives_may_be_learned(session, tmp_path: Path) -> None:
    body = """
transductive: {data.test: [image]}
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  said: {stage: label, by: model_answer, from: [fit, data.test]}
  again: {stage: train, from: {model: fit, data: said, optimizer: optimizer}, step: supervised, epochs: 1}
  test: {stage: evaluate, from: [again, data.test], metrics: [accuracy]}
"""
    session(write_recipe(tmp_path, body), "data.limit=64").plan()


@pytest.mark.parametrize(
    "recipe",
    [
        "graph: {more: {stage: mix, by: concatenate_rows, from: [data.train, data.valid]}, fit_student: {from: {data: more}}}",
        "graph: {fit_student: {from: {valid: data.valid}, step: {nodes: {v: {op: cross_entropy, from: [s.logits, valid.label]}}}}}",
        "graph: {target: {stage: reduce, by: class_counts, from: [data.valid]}}\nresults: [target]",
    ],
    ids=["rows mixed in", "a second loader", "a target"],
)
def test_validation_rows_that_are_not_there_are_no_test_rows(session, tmp_path: Path, recipe: str) -> None:
    name = write_recipe(tmp_path, f"data: {{valid: 0}}\nskip: [valid]\nobjective: null\n{recipe}\n", header=NO_TRANSFER)
    message = refused(session(name, "data=cifar10", "data.valid=0", "student=cifar/resnet8", "teacher=cifar/resnet8"))
    assert "the data has no split 'valid'" in message


def columns() -> dict[str, torch.Tensor]:
    return {"image": torch.arange(6.0).view(3, 2), "label": torch.tensor([0, 1, 2])}


def test_only_what_is_shown_can_be_read() -> None:
    info = DataInfo({"image": Column((2,)), "label": Column((), torch.int64)}, classes=3)
    files = FileDataset(lambda row: {n: c[row] for n, c in columns().items()}, 3, info)
    for data in (MemoryDataset(columns(), info), files):
        chosen = showing(data.select(torch.tensor([2, 0])), ["image"])
        assert set(chosen.rows()) == {"image", "index"} == {*chosen.info.columns, "index"}
        assert chosen.rows()["index"].tolist() == [2, 0]
        assert torch.equal(chosen.rows()["image"], columns()["image"][[2, 0]])
        assert chosen.info.classes == 3
        assert chosen.with_columns({"label": torch.tensor([1, 1])}).changed == {"label"}
    pair = showing({"a": [files]}, ["label"])["a"][0]
    assert set(pair.rows()) == {"label", "index"}


def test_a_column_that_is_withheld_is_not_kept_as_a_change() -> None:
    changed = MemoryDataset(columns(), DataInfo({})).with_columns({"label": torch.zeros(3)})
    assert showing(changed, ["image"]).changed == frozenset()
    assert showing(changed, ["label"]).changed == {"label"}
