"""Layers of a config: scale, arm, the scale's words for an arm, the user; how nodes are addressed."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError
from kdrun.graph.check import check
from support.recipes import COMPUTED, composed, stranger, write_recipe


def test_scale_arm_the_scales_words_for_it_and_the_user_apply_in_that_order(tmp_path) -> None:
    body = (
        "epochs: 1\narms: {plain: {}, long: {epochs: 3, batch_size: 8}, longer: {like: long}}\n"
        "scales: {tiny: {epochs: 2, batch_size: 4, arms: {long: {batch_size: 2}}}}\n"
    )

    def found(arm: str | None, scale: str | None, *user: str) -> tuple[int, int]:
        config = composed(tmp_path, body, *user, arm=arm, scale=scale)
        return config["epochs"], config["batch_size"]

    assert found(None, None) == (1, 64)
    assert found("plain", "tiny") == (2, 4)
    assert found("long", None) == (3, 8)
    assert found("long", "tiny") == (3, 2)
    assert found("longer", "tiny") == (3, 2), "what a scale says of an arm reaches those like it"
    assert found("long", "tiny", "epochs=7") == (7, 2)
    assert found("longer", None, "arms.long.epochs=9") == (9, 8), "an override of the original reaches its copies"


def test_a_node_is_addressed_by_its_own_name_and_a_key_with_dots_is_one_key(tmp_path) -> None:
    body = (
        "graph: {fit_student: {step: {groups: {student.head: {lr: 0.5}}}}}\n"
        "arms: {slow: {fit_student.step.groups.student.head.lr: 0.1, test.metrics: [accuracy]}, none: {}}\n"
    )
    graph = composed(tmp_path, body, arm="slow")["graph"]
    assert graph["fit_student"]["step"]["groups"] == {"student.head": {"lr": 0.1}}
    assert graph["test"]["metrics"] == ["accuracy"]
    user = composed(tmp_path, body, "fit_student.step.minimize.ce=0.5", "fit_student.epochs=3")["graph"]["fit_student"]
    assert (user["step"]["minimize"], user["epochs"]) == ({"ce": 0.5}, 3)


def test_a_node_that_names_another_part_takes_the_place_of_the_old_one(tmp_path) -> None:
    body = "arms: {a: {test: {stage: summarize, from: [[fit_student.log]], columns: {ce: [min]}}, valid: {metrics: [nll]}}}\n"
    graph = composed(tmp_path, body, arm="a")["graph"]
    assert set(graph["test"]) == {"stage", "from", "columns"}
    assert graph["valid"]["stage"] == "evaluate"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("graph: {a: {like: b}, b: {like: a}}", "like each other: graph.a -> graph.b"),
        ("graph: {a: {like: fit_studnt}}", "nothing called 'fit_studnt' to be like"),
        ("arms: {a: {like: b}, b: {like: a}}", "like each other: a -> b -> a"),
        ("arms: {a: {epoch: 3}}", "'epoch' is no group, node or setting here \\(did you mean 'epochs'"),
        (
            "arms: {a: {transfer.label_smothing: 3}}",
            "'transfer' has no key 'label_smothing' \\(did you mean 'label_smoothing'",
        ),
        ("arms: {a: {student: cnn_tinny}}", "student has no option 'cnn_tinny' \\(did you mean 'cnn_tiny'"),
        ("arms: {a: [epochs=3]}", "arm 'a' is a mapping of what it changes"),
        ("skip: [tests]", "skip names 'tests', which is no node \\(did you mean 'test'"),
        ("arms: {a: {runs: /tmp/x}}", "only the command line may set 'runs'"),
    ],
)
def test_wrong_words_are_refused_with_the_nearest_right_one(tmp_path, body, message) -> None:
    with pytest.raises(InputError, match=message):
        composed(tmp_path, f"{body}\n" + ("" if "arms" in body else "arms: {a: {}}\n"), arm="a")


@pytest.mark.parametrize("first", ["transfer=attention", "transfer.attention_weight=3"])
def test_of_what_one_layer_says_none_comes_before_the_other(first) -> None:
    words = sorted(["transfer=attention", "transfer.attention_weight=3"], key=lambda word: word != first)
    assert Composer.named("kd", words).compose().config["transfer"]["attention_weight"] == 3


def test_home_stands_in_every_place_that_a_user_names(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = Composer.named("kd", ["store=~/st", "runs=~/a (1)", "plugins=[~/mine.py]"]).compose().config
    assert [config[name] for name in ("store", "runs", "plugins")] == [
        f"{tmp_path}/st",
        f"{tmp_path}/a (1)",
        [f"{tmp_path}/mine.py"],
    ]


def test_null_takes_a_parameter_away_and_a_source_may_be_like_another(tmp_path) -> None:
    body = "stream: {like: data, limit: 7}\ngraph: {fit_student: {batch_size: null}, valid: {from: {data: stream.valid}}}\n"
    config = composed(tmp_path, body, "stream.limit=9")
    assert config["stream"] == {"data": "digits", "limit": 9, "augment": []}
    assert "batch_size" not in check(config).nodes["fit_student"].params


def test_inside_a_loop_a_node_is_addressed_without_do(tmp_path) -> None:
    body = (
        "graph: {turns: {foreach: {x: 2}, do: {seen: {like: test}}}}\n"
        "arms: {a: {turns.seen: {metrics: [nll]}}, b: {turns.seen.metrics: [accuracy], turns.foreach.x: 3}}\n"
    )
    assert composed(tmp_path, body, arm="a")["graph"]["turns"]["do"]["seen"]["metrics"] == ["nll"]
    new = composed(tmp_path, body, "turns.more={stage: evaluate, from: [fit_student, data.test], metrics: [nll]}")
    assert set(new["graph"]["turns"]["do"]) == {"seen", "more"}
    turns = composed(tmp_path, body, arm="b")["graph"]["turns"]
    assert (turns["do"]["seen"]["metrics"], turns["foreach"]) == (["accuracy"], {"x": 3})


def test_an_entry_of_a_list_is_addressed_by_its_number(tmp_path) -> None:
    config = composed(
        tmp_path,
        "graph: {test: {metrics: [accuracy, {metric: nll, name: loss}]}}\n",
        "test.metrics.0=nll",
        "test.metrics.1.name=mine",
    )
    assert config["graph"]["test"]["metrics"] == ["nll", {"metric": "nll", "name": "mine"}]


def test_where_a_layer_went_wrong_is_told_with_file_and_line(tmp_path) -> None:
    body = "arms:\n  a: {fit_student: {batchsize: 1}}\n  b: {epoch: 1}\n"
    with pytest.raises(InputError) as caught:
        composed(tmp_path, body, arm="b")
    assert str(caught.value).startswith(f"{tmp_path}/stranger.yaml:5: arms.b.epoch: 'epoch' is no group")
    experiment = Composer.named(stranger(tmp_path, body)).compose(arm="a")
    with pytest.raises(InputError) as caught:
        check(experiment.config)
    assert "stranger.yaml:4 (arm a): graph.fit_student" in str(experiment.explain(caught.value))


def test_arms_may_be_changed_and_taken_away_by_the_user(tmp_path) -> None:
    body = "arms: {a: {epochs: 1}, b: {epochs: 2}}\n"
    config = composed(tmp_path, body, "arms.a.epochs=9", "arms.b=null", arm="a")
    assert (config["epochs"], list(config["arms"])) == (9, ["a"])


def test_skipped_nodes_of_all_layers_are_left_out(tmp_path) -> None:
    body = "skip: [valid]\narms: {a: {skip: [test]}}\nscales: {tiny: {skip: [teacher_test]}}\n"
    assert set(composed(tmp_path, body, arm="a", scale="tiny")["graph"]) == {"fit_teacher", "fit_student"}


def test_seeds_of_a_grid_reach_interpolations(tmp_path) -> None:
    recipe = stranger(tmp_path, "data: {limit: '${add:${seed},10}'}\narms: {a: {}}\n")
    rows = dict(Composer.named(recipe).grid(["a"], [0, 5], None))
    assert [rows[s]["a"].config["data"]["limit"] for s in (0, 5)] == [10, 15]


def test_a_whole_node_takes_the_place_of_the_old_one(session, tmp_path) -> None:
    ready = session(write_recipe(tmp_path, COMPUTED), "data.limit=64", arm="other")
    assert "counted" in ready.graph.nodes
    assert not any(name.startswith("counted[") for name in ready.graph.nodes)
    other = session("hard", "fit_student.models.augmentor={model: mask_mixer}", arm="kd")
    assert other.config["graph"]["fit_student"]["models"]["augmentor"] == {"model": "mask_mixer"}


@pytest.mark.parametrize("written", ["data: {data: digits, limit: 64}\n", "data.data: digits\ndata.limit: 64\n"])
def test_an_option_that_the_user_chooses_leaves_nothing_of_what_a_recipe_says_of_its_group(tmp_path, written) -> None:
    assert composed(tmp_path, written)["data"]["limit"] == 64
    chosen = composed(tmp_path, written, "data=glyphs")["data"]
    assert (chosen["data"], chosen["limit"]) == ("glyphs", None)
