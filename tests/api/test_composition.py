"""Composing from Python: what is said, what is shown, what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import kdrun
from kdrun.errors import InputError


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, kdrun; assert not {'torch', 'yaml', 'hydra', 'kdrun.api'} & set(sys.modules); "
        "assert {'compose', 'run', 'reproduce'} <= set(dir(kdrun)); "
        "kdrun.compose('kd', arm='kd').check(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_that_checks_imports_no_torch() -> None:
    code = "import sys; from kdrun.cli import main; main(['check', 'kd']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_overrides_as_text_and_as_a_mapping_say_the_same() -> None:
    text = [
        "epochs=2",
        "optimizer.lr=0.5",
        "student=cnn_wide",
        "student.channels=[4,8]",
        "arm=kd",
        "fit_teacher.epochs=3",
    ]
    mapping = {
        "epochs": 2, "optimizer.lr": 0.5, "student": "cnn_wide", "student.channels": (4, 8), "fit_teacher.epochs": 3,
    }  # fmt: skip
    first, second = kdrun.compose("kd", text, scale="smoke"), kdrun.compose("kd", mapping, arm="kd", scale="smoke")
    assert first.config == second.config
    assert first.config["student"]["channels"] == [4, 8]
    assert first.config["graph"]["fit_teacher"]["epochs"] == 3


def test_numbers_of_numpy_are_numbers() -> None:
    composed = kdrun.compose("kd", {"epochs": np.int64(3), "transfer.temperature": np.float32(2.5)}, arm="kd")
    assert "epochs: 3\n" in composed.yaml()
    assert composed.config["transfer"]["temperature"] == 2.5


def test_a_composition_shows_recipe_choices_and_changes_as_text_and_as_html() -> None:
    composed = kdrun.compose("distillation/kd", {"epochs": 2}, arm="kd", scale="smoke")
    lines = dict(line.split(maxsplit=1) for line in str(composed).splitlines())
    assert lines["recipe"] == "distillation/kd"
    assert lines["changed"] == "epochs=2"
    assert (lines["arm"], lines["scale"], lines["student"]) == ("kd", "smoke", "cnn_tiny")
    page = composed._repr_html_()
    assert "<td>cnn_tiny</td>" in page
    assert "fit_student</text>" in page, "the graph is drawn"
    assert "fit_student" in composed.show()
    assert composed.show("mermaid").startswith("flowchart")
    assert "epochs: 2" in composed.yaml()


def test_a_broken_composition_still_shows_itself_with_what_is_wrong() -> None:
    composed = kdrun.compose("kd", ["fit_student.epochs=soon"])
    assert "does not fit epochs" in composed._repr_html_()
    with pytest.raises(InputError, match=r"fit_student\.epochs=soon.*does not fit epochs"):
        composed.check()


def test_further_changes_leave_the_first_composition_as_it_was() -> None:
    first = kdrun.compose("kd", ["epochs=2"], arm="kd")
    from kdrun.api.asked import selected

    second = first.changed(selected({"batch_size": 7}, arm="scratch"))
    assert (first.config["batch_size"], first.experiment.arm) == (64, "kd")
    assert (second.config["batch_size"], second.config["epochs"], second.experiment.arm) == (7, 2, "scratch")


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["kd", ["epochz=2"]], {}, r"epochz: .*did you mean 'epochs'"),
        (["kd"], {"arm": "kt"}, r"has no arm 'kt'"),
        (["kdd"], {}, r"no recipe is called 'kdd'"),
        (["kd", "epochs=2"], {}, r"overrides are a list or a mapping: \['epochs=2'\]"),
        (["kd", {"epochs": object()}], {}, r"an override is a number, text, a list or a mapping"),
        (["kd", ["seeds=3"]], {}, r"a run has one seed"),
    ],
)
def test_what_is_wrong_is_an_input_error_with_the_nearest_right_thing(arguments, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        kdrun.compose(*arguments, **settings)


@pytest.mark.parametrize("overrides", [["graph.fit_student.epochs=x"], {"graph.fit_student.epochs": "x"}])
def test_what_a_program_says_is_not_laid_to_a_command_line(overrides) -> None:
    with pytest.raises(InputError, match=r"^override \(graph.fit_student.epochs=x\): "):
        kdrun.compose("kd", overrides).check()


def test_a_notebook_shows_an_error_as_its_one_line() -> None:
    with pytest.raises(InputError) as raised:
        kdrun.compose("kd", {"epohcs": 2})
    assert raised.value._render_traceback_() == [f"InputError: {raised.value}"]


def test_an_error_in_a_file_names_file_and_line(tmp_path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("# @package _global_\nepohcs: 3\n")
    with pytest.raises(InputError, match=r"mine\.yaml:2.*nothing reads 'epohcs' \(did you mean 'epochs'"):
        kdrun.compose(recipe)
    recipe.write_text("# @package _global_\ngraph:\n  test: {metrics: [{metric: acuracy}]}\n")
    with pytest.raises(InputError, match=r"mine\.yaml:3.*did you mean 'accuracy'"):
        kdrun.compose(recipe).check()


def test_a_plan_has_a_row_a_stage_and_writes_nothing(tmp_path) -> None:
    found = kdrun.compose("kd", arm="kd", scale="smoke", store=tmp_path / "store").plan()
    assert [stage.name for stage in found.stages] == ["fit_teacher", "teacher_test", "fit_student", "valid", "test"]
    assert "FLOPs" in str(found)
    assert "<td>fit_student</td>" in found._repr_html_()
    assert not (tmp_path / "store").exists()
