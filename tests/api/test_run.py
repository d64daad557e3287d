"""Running from Python: figures, tables, models and values; the store; silence."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch

import kdrun
from kdrun.errors import InputError


def test_a_run_gives_the_commands_figures_and_shares_its_store(finished, shared_store, kdrun) -> None:
    answer = kdrun("run", "kd", "arm=kd", "scale=smoke", f"store={shared_store}", "runs=records")
    assert "stages computed: 0" in answer.out
    written = json.loads(next(shared_store.__class__("records").glob("*/*/result.json")).read_text())
    assert written["metrics"] == finished.metrics


def test_a_second_run_reads_the_store_and_prints_nothing(finished, shared_store, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    again = kdrun.run(kdrun.compose("kd", arm="kd", scale="smoke"), store=shared_store)
    assert again.outcome.counts["computed"] == 0
    assert again.metrics == finished.metrics
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == [], "no records unasked"


def test_progress_goes_to_standard_error_and_records_where_they_are_wanted(tmp_path, capfd) -> None:
    found = kdrun.run("kd", arm="scratch", scale="smoke", store=tmp_path / "s", runs=tmp_path / "r", progress=True)
    said = capfd.readouterr()
    assert said.out == ""
    assert "fit_student" in said.err
    assert found.records is not None
    assert json.loads((found.records / "result.json").read_text())["metrics"] == found.metrics


def test_the_store_of_the_environment_is_the_default(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KDRUN_STORE", str(tmp_path / "mine"))
    kdrun.run("kd", arm="scratch", scale="smoke")
    assert (tmp_path / "mine" / "objects").is_dir()


def test_tables_are_data_frames_with_the_figures_of_the_metrics(finished) -> None:
    pytest.importorskip("pandas")
    assert list(finished.tables) == ["teacher_test", "valid", "test"]
    assert finished.tables["test"].loc[0, "accuracy"] == finished.metrics["test.accuracy"]
    log = finished.table("fit_student.log")
    assert log["epoch"].tolist() == [1]
    assert set(finished.curves["stage"]) == {"fit_teacher", "fit_student"}


def test_without_pandas_the_error_names_the_extra_and_rows_remain(finished, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"kdrun\[notebook\]"):
        _ = finished.tables["test"]
    assert finished.value("test")[0]["accuracy"] == finished.metrics["test.accuracy"]


def test_a_model_has_the_weights_whose_accuracy_the_run_measured(finished) -> None:
    model, data = finished.model("fit_student"), finished.value("data.test")
    assert not model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    rows = data.rows()
    with torch.no_grad():
        answers = model(rows["image"])
    logits = answers["logits"] if isinstance(answers, dict) else answers
    accuracy = (logits.argmax(1) == rows["label"]).double().mean().item()
    assert accuracy == pytest.approx(finished.metrics["test.accuracy"], abs=1e-9)


def test_a_model_is_the_callers_own(finished) -> None:
    before = torch.random.get_rng_state()
    first = finished.models["fit_student"]
    for parameter in first.parameters():
        parameter.data.zero_()
    assert any(parameter.any() for parameter in finished.model("fit_student.student").parameters())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(finished.models) == ["fit_teacher", "fit_student"]


def test_models_that_a_stage_trains_beside_its_main_one_are_named_with_their_role(shared_store) -> None:
    found = kdrun.run("kd", {"transfer": "norm_direction"}, scale="smoke", store=shared_store)
    names = list(found.models)
    assert names[:2] == ["fit_teacher", "fit_student"]
    assert len(names) > 2
    assert all(name.startswith("fit_student.") for name in names[2:])
    assert all(isinstance(found.models[name], torch.nn.Module) for name in names)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda run: run.value("fit_studnt"), r"no node 'fit_studnt' \(did you mean 'fit_student'\?\)"),
        (lambda run: run.value("fit_student.lgo"), r"no field 'lgo' \(did you mean 'log'\?\)"),
        (lambda run: run.value("data.tset"), r"no field 'tset' \(did you mean 'test'\?\)"),
        (lambda run: run.model("test"), r"'test' is no model but list"),
        (lambda run: run.model("student"), r"was not trained"),
        (lambda run: run.table("fit_student"), r"'fit_student' is no table but Model"),
        (lambda run: run.tables["tets"], r"no table 'tets' \(did you mean 'test'\?\)"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_the_nearest_one(finished, ask, message) -> None:
    with pytest.raises(InputError, match=message):
        ask(finished)


def test_a_result_that_left_the_store_is_told_of_and_not_computed_unasked(tmp_path) -> None:
    found = kdrun.run("kd", arm="scratch", scale="smoke", store=tmp_path / "store")
    assert len(list(found.models)) == 1
    shutil.rmtree(tmp_path / "store" / "objects")
    with pytest.raises(InputError, match="holds no result of 'fit_student' any more"):
        found.model("fit_student")
    assert list(found.models) == []
