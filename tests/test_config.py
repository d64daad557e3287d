"""Composition, and what a recipe from a stranger cannot do."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from kdrun.config.compose import Composer
from kdrun.config.paths import conf_dir
from kdrun.errors import InputError

HEADER = "# @package _global_\ndefaults: [{override /transfer: none}]\n"


def stranger(tmp_path, body: str, header: str = HEADER) -> str:
    path = tmp_path / "stranger.yaml"
    path.write_text(header + body)
    return str(path)


def test_arm_scale_and_user_apply_in_that_order() -> None:
    composer = Composer.named("kd", ["epochs=7"])
    config = composer.compose(arm="scratch", scale="smoke").config
    assert config["epochs"] == 7
    assert config["data"]["limit"] == 128
    assert "fit_teacher" not in config["graph"]


def test_a_transfer_method_builds_on_another_one() -> None:
    graph = Composer.named("kd", ["transfer=norm_direction"]).base().config["graph"]
    assert set(graph["fit_student"]["step"]["nodes"]) == {"s", "ce", "t", "kd", "e", "direction"}
    assert graph["fit_student"]["step"]["updates"]["main"]["train"] == {"student": True, "embed": True}


def test_seeds_of_a_grid_reach_interpolations(tmp_path) -> None:
    recipe = stranger(tmp_path, "data: {limit: '${add:${seed},10}'}\narms: {a: []}\n")
    rows = dict(Composer.named(recipe).grid(["a"], [0, 5], None))
    assert [rows[s]["a"].config["data"]["limit"] for s in (0, 5)] == [10, 15]


@pytest.mark.parametrize(
    "body",
    [
        "hydra: {launcher: {_target_: os.system}}\n",
        "hydra: {callbacks: {evil: {_target_: os.system}}}\n",
        "hydra: {job_logging: {handlers: {x: {class: os.system}}}}\n",
        "hydra: {run: {dir: /tmp/elsewhere}}\n",
    ],
)
def test_a_recipe_cannot_touch_hydra(tmp_path, body) -> None:
    with pytest.raises(InputError, match="a recipe may not change Hydra's own settings"):
        Composer.named(stranger(tmp_path, body)).base()


@pytest.mark.parametrize("key", ["plugins: [./evil.py]", "store: /tmp/elsewhere", "runs: /tmp/elsewhere"])
def test_a_recipe_cannot_import_or_choose_where_to_write(tmp_path, key) -> None:
    with pytest.raises(InputError, match="only the command line may set"):
        Composer.named(stranger(tmp_path, key + "\n")).base()


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${oc.decode:1}", "${hydra:runtime.cwd}", "${now:%Y}"])
def test_a_recipe_cannot_read_the_machine(tmp_path, value) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        HydraConfig.instance().set_config(compose("config", return_hydra_config=True))
    with pytest.raises(InputError):
        Composer.named(stranger(tmp_path, f"leak: '{value}'\n")).base()


@pytest.mark.parametrize("part", ["os.system", "torch.nn.Linear", "builtins.eval"])
def test_a_part_is_never_a_dotted_path(tmp_path, kdrun, part) -> None:
    recipe = stranger(tmp_path, f"student: {{model: {part}, channels: null}}\n")
    answer = kdrun("check", recipe)
    assert answer.code == 2
    assert f"no model is called '{part}'" in answer.err


def test_yaml_tags_are_refused(tmp_path) -> None:
    with pytest.raises(InputError):
        Composer.named(stranger(tmp_path, "leak: !!python/object/apply:os.system ['true']\n")).base()


def test_errors_name_file_and_line(tmp_path, kdrun) -> None:
    answer = kdrun("check", stranger(tmp_path, "graph:\n  test:\n    stage: evaluate\n    metrics: [acuracy]\n"))
    assert answer.err.startswith("kdrun: stranger.yaml:6: graph.test.metrics.0.metric:")


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
    with pytest.raises(InputError, match="'student' has no key 'channels'"):
        Composer.named(recipe, ["student=mlp_tiny", "student.channels=[2]"]).base()


def test_a_folder_beside_recipes_is_no_config_group(tmp_path, monkeypatch) -> None:
    """`runs=FOLDER` must go on working in a checkout where a first run has left a folder `runs`."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").write_text("# @package _global_\ndefaults: [{override /transfer: none}]\n")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/one.yaml").write_text("x: 1\n")
    monkeypatch.chdir(tmp_path)
    assert Composer.named("mine", ["runs=elsewhere"]).compose().config["runs"] == "elsewhere"
    assert Composer.named("kd", ["runs=elsewhere"]).compose().config["runs"] == "elsewhere"
