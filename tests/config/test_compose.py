"""Groups, options, folders of the user, and which results are wanted."""

from __future__ import annotations

import gc
import weakref

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError
from kdrun.graph.check import check
from support.recipes import composed, stranger


def test_a_group_may_be_left_out(tmp_path) -> None:
    assert (
        "valid"
        not in composed(tmp_path, "graph: {own: {op: constant, shape: [1]}}\n", "protocol=null", "transfer=null")[
            "graph"
        ]
    )


@pytest.mark.parametrize(
    "package", [".hydra", "..hydra", "_global_.hydra", "hydra.job", "store", "graph", "student.x.y"]
)
def test_an_option_lands_in_its_own_group_alone(tmp_path, monkeypatch, kdrun, package) -> None:
    """No header puts a stranger's content over Hydra's own node, where it could name code, or over other settings."""
    (tmp_path / "conf/data").mkdir(parents=True)
    (tmp_path / "conf/data/mine.yaml").write_text(
        f"# @package {package}\ndata: digits\ncallbacks: {{mark: {{_target_: os.mkdir, path: {tmp_path}/mark}}}}\n"
    )
    for command in ("run", "check"):
        answer = kdrun(command, "kd", "data=mine", *(("scale=smoke", "arm=kd") if command == "run" else ()))
        assert answer.code == 2
        assert "an option lands in its own group 'data'" in answer.err
    assert not (tmp_path / "mark").exists()


def test_tables_pull_and_results_name_what_else_is_wanted(tmp_path) -> None:
    body = "graph: {unread: {stage: predict, from: [fit_student, data.test]}}\n"
    assert [n.name for n in check(composed(tmp_path, body)).stages()] == ["fit_student", "valid", "test"]
    named = check(composed(tmp_path, body + "results: [unread]\n"))
    assert [n.name for n in named.stages()] == ["fit_student", "valid", "test", "unread"]
    no_table = check(composed(tmp_path, body + "skip: [valid, test]\n"))
    assert [n.name for n in no_table.stages()] == ["fit_teacher", "fit_student", "unread"], (
        "without tables the final stages are wanted"
    )


def test_what_a_recipe_sets_in_its_own_option_goes_with_the_option(tmp_path) -> None:
    recipe = stranger(tmp_path, "student: {channels: [4, 4]}\ndata: {limit: 100}\n")
    kept = Composer.named(recipe).base().config
    assert kept["student"]["channels"] == [4, 4]
    other = Composer.named(recipe, ["student=cnn_wide", "data.limit=7"]).base().config
    assert other["student"]["channels"] == [32, 64, 128]
    assert other["data"]["limit"] == 7
    set_again = Composer.named(recipe, ["student=cnn_wide", "student.channels=[2]"]).base().config
    assert set_again["student"]["channels"] == [2]
    lost = Composer.named(recipe, ["student=mlp_tiny"]).base().config
    assert "channels" not in lost["student"]
    with pytest.raises(InputError, match="model 'mlp' has no parameter 'channels'"):
        check(Composer.named(recipe, ["student=mlp_tiny", "student.channels=[2]"]).base().config)


def test_a_folder_beside_recipes_is_no_config_group(tmp_path, monkeypatch) -> None:
    """`runs=FOLDER` must go on working in a checkout where a first run has left a folder `runs`."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").write_text(
        "# @package _global_\ndefaults: [{override /transfer: distillation/none}]\n"
    )
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/one.yaml").write_text("x: 1\n")
    monkeypatch.chdir(tmp_path)
    assert Composer.named("mine", ["runs=elsewhere"]).compose().config["runs"] == "elsewhere"
    assert Composer.named("kd", ["runs=elsewhere"]).compose().config["runs"] == "elsewhere"


def test_the_working_folders_options_win_and_it_has_no_primary_config(tmp_path, monkeypatch, kdrun) -> None:
    for name, text in {
        "student/cnn_tiny.yaml": "model: mlp\nhidden: [7]\n",
        "transfer/distillation/mine.yaml": "# @package _global_\ndefaults: [distillation/kd]\ntransfer: {temperature: 9.0}\n",
        "config.yaml": "defaults: [{override /hydra/launcher: joblib}]\nhydra: {run: {dir: elsewhere}}\nseed: 99\n",
    }.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)
    config = Composer.named("kd", ["transfer=mine"]).base().config
    assert config["student"] == {"model": "mlp", "hidden": [7]}
    assert config["transfer"]["temperature"] == 9.0
    assert config["seed"] == 0
    answer = kdrun("run", "kd", "--cfg", "hydra")
    assert answer.code == 0
    assert "elsewhere" not in answer.out


def test_what_a_recipe_was_composed_from_is_let_go_with_the_composer() -> None:
    """So a program that composes for days does not keep Hydra's files a thousand times."""
    composer = Composer.named("kd")
    composer.base()
    library = weakref.ref(composer.options._library)
    del composer
    gc.collect()
    assert library() is None
