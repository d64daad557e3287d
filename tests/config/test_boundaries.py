"""What a recipe from a stranger cannot do: import, read the machine, touch Hydra."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError
from support.recipes import composed, stranger


def test_an_arm_reaches_nothing_of_hydras(tmp_path) -> None:
    with pytest.raises(InputError, match="Hydra's own settings come from the command line alone"):
        composed(tmp_path, "arms: {a: {hydra.run.dir: /tmp/elsewhere}}\n", arm="a")


def test_a_defaults_list_reads_no_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KDRUN_MARK", "mlp_tiny")
    header = '# @package _global_\ndefaults: [{override /student: "${oc.env:KDRUN_MARK}"}]\n'
    with pytest.raises(InputError, match="names options plainly"):
        Composer.named(stranger(tmp_path, "", header)).base()


@pytest.mark.parametrize(
    "body",
    [
        "hydra: {launcher: {_target_: os.system}}\n",
        "hydra: {callbacks: {evil: {_target_: os.system}}}\n",
        "hydra: {job_logging: {handlers: {x: {class: os.system}}}}\n",
        "hydra: {run: {dir: /tmp/elsewhere}}\n",
    ],
)
def test_a_recipe_cannot_touch_hydra(tmp_path, kdrun, body) -> None:
    with pytest.raises(InputError, match="Hydra's own settings come from the command line alone"):
        Composer.named(stranger(tmp_path, body)).base()
    answer = kdrun("run", stranger(tmp_path, body), "--cfg", "hydra")
    assert (answer.code, answer.out) == (2, "")


@pytest.mark.parametrize(
    "defaults",
    [
        "{override /hydra/launcher: joblib}",
        "{override /launcher: slurm}",
        "{optional override /hydra/sweeper: mine}",
        "{override optional /hydra/sweeper: mine}",
        "{/student@hydra.job: cnn_tiny}",
        "/hydra/output/default",
    ],
)
def test_a_recipes_defaults_reach_no_group_of_hydra(tmp_path, defaults) -> None:
    with pytest.raises(InputError, match="is no group of an experiment"):
        Composer.named(stranger(tmp_path, "", f"# @package _global_\ndefaults: [{defaults}]\n")).base()


@pytest.mark.parametrize("key", ["plugins: [./evil.py]", "store: /tmp/elsewhere", "runs: /tmp/elsewhere"])
def test_a_recipe_cannot_import_or_choose_where_to_write(tmp_path, key) -> None:
    with pytest.raises(InputError, match="only the command line may set"):
        Composer.named(stranger(tmp_path, key + "\n")).base()


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${oc.decode:1}", "${hydra:runtime.cwd}", "${now:%Y}"])
def test_a_recipe_cannot_read_the_machine(tmp_path, kdrun, value) -> None:
    recipe = stranger(tmp_path, f"leak: '{value}'\n")
    with pytest.raises(InputError):
        Composer.named(recipe).base()
    assert kdrun("run", recipe, "--cfg", "job", "--resolve").code == 2


@pytest.mark.parametrize("part", ["os.system", "torch.nn.Linear", "builtins.eval"])
def test_a_part_is_never_a_dotted_path(tmp_path, kdrun, part) -> None:
    recipe = stranger(tmp_path, f"student: {{model: {part}, channels: null}}\n")
    answer = kdrun("check", recipe)
    assert answer.code == 2
    assert f"no model is called '{part}'" in answer.err


def test_yaml_tags_are_refused(tmp_path) -> None:
    with pytest.raises(InputError):
        Composer.named(stranger(tmp_path, "leak: !!python/object/apply:os.system ['true']\n")).base()
