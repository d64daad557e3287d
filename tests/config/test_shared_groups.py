"""One folder of models serves the groups ``teacher`` and ``student``."""

from __future__ import annotations

import pytest
from hydra.core.object_type import ObjectType

from kdrun.config.compose import Composer
from kdrun.config.hydra_loader import Loader
from kdrun.config.paths import find_recipe, group_options, groups, one_piece
from kdrun.errors import InputError


def base(*overrides: str) -> dict:
    return Composer.named("kd", overrides).base().config


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write options of groups into the working folder, by name and content."""
    monkeypatch.chdir(tmp_path)

    def write(**contents: str) -> None:
        for name, text in contents.items():
            path = tmp_path / "conf" / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


@pytest.mark.parametrize(
    "option", ["set_micro", "graph_embedding", "minilm", "mpnet", "cifar/resnet20", "timm/resnet18"]
)
def test_every_model_may_teach_and_learn(option) -> None:
    told = []
    for group in ("teacher", "student"):
        composer = Composer.named("kd", [f"{group}={option}"])
        layered = composer.layered(None, None)  # before ${data.…} is read, which another data set has
        assert layered.choices[group] == option
        told.append({k: v for k, v in layered.config[group].items() if k != "num_classes"})
    assert told[0] == told[1]
    assert "model" in told[0]


def test_both_groups_have_the_same_options_and_their_folder_is_no_group() -> None:
    assert group_options("teacher") == group_options("student")
    assert {"teacher", "student"} <= set(groups())
    assert "model" not in groups()
    assert group_options("model") == {}
    with pytest.raises(InputError, match="'model' is no group, node or setting here"):
        base("model=cnn_tiny")
    with pytest.raises(InputError, match=r"did you mean 'resnet56'\?"):
        base("student=resnet57x")


def test_patterns_lists_and_hydras_tree_know_nested_options(kdrun, caplog) -> None:
    listed = kdrun("list", "groups", "cifar/resnet56").out
    assert "teacher=cifar/resnet56" in listed
    assert "student=cifar/resnet56" in listed
    loader = Loader(find_recipe("kd"))
    assert {"cnn_tiny", "cifar/resnet20"} <= set(loader.get_group_options("student"))
    shown = loader.repository.get_group_options("student/cifar", None)
    assert "resnet20" in shown
    found = loader.repository.get_group_options("", ObjectType.GROUP)
    assert {"teacher", "student"} <= set(found)
    assert "model" not in found
    assert kdrun("run", "kd", "student=cifar/resnet20", "--info", "defaults-tree").code == 0
    assert f"student: {one_piece('cifar/resnet20')}" in caplog.text


def test_an_own_folder_goes_before_the_shared_one(own) -> None:
    own(
        student__cnn_tiny="model: mlp\nhidden: [7]\n",
        model__cnn_tiny="model: mlp\nhidden: [9]\n",
        model__deep__mine="model: mlp\nhidden: [5, 5]\n",
    )
    assert base()["student"] == {"model": "mlp", "hidden": [7]}
    assert base("teacher=cnn_tiny")["teacher"] == {"model": "mlp", "hidden": [9]}
    for group in ("teacher", "student"):
        assert base(f"{group}=deep/mine")[group] == {"model": "mlp", "hidden": [5, 5]}
    assert "cnn_wide" in group_options("student")


def test_options_in_folders_are_chosen_where_hydra_takes_a_slash_for_a_nested_group(monkeypatch) -> None:
    """As of 1.4; the names that it gets then are read back by 1.3, too."""
    plain = Composer.named("adaptation/glc").compose(arm="open_partial")
    monkeypatch.setattr("hydra.__version__", "1.4.0")
    assert "/" not in one_piece("source_free/global_local_clustering")
    other = Composer.named("adaptation/glc").compose(arm="open_partial")
    assert (other.choices, other.config) == (plain.choices, plain.config)
    with pytest.raises(InputError, match="global_local_clusterin"):
        Composer.named("adaptation/glc", ["transfer=source_free/global_local_clusterin"]).compose()
