"""Composition: layers, words, and what a recipe from a stranger cannot do."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.config.paths import conf_dir, group_options, recipe_files
from kdrun.errors import InputError
from kdrun.graph.check import check

HEADER = "# @package _global_\ndefaults: [{override /transfer: distillation/none}]\n"


def stranger(tmp_path, body: str, header: str = HEADER) -> str:
    path = tmp_path / "stranger.yaml"
    path.write_text(header + body)
    return str(path)


def composed(tmp_path, body: str, *overrides: str, arm: str | None = None, scale: str | None = None) -> dict:
    return Composer.named(stranger(tmp_path, body), overrides).compose(arm=arm, scale=scale).config


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


def test_like_reaches_overrides_of_the_original_and_merges_deeply(tmp_path) -> None:
    body = "graph: {again: {like: fit_student, from: {data: data.valid}, step: {minimize: {ce: 2.0}}}, more: {like: test, from: {model: again}}}\n"
    config = composed(tmp_path, body, "fit_student.epochs=3", "fit_student.step.optimizer=null")
    again = config["graph"]["again"]
    assert again["epochs"] == 3
    assert again["from"] == {"student": "student", "data": "data.valid", "optimizer": "optimizer"}
    assert again["step"]["minimize"] == {"ce": 2.0}
    assert config["graph"]["more"] == {**config["graph"]["test"], "from": {"model": "again", "data": "data.test"}}


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


@pytest.mark.parametrize(
    "body",
    ["graph: {a: &a {like: test}, b: *a}\n", "base: &b {x: 1}\nother: {<<: *b}\n", "merged: {<<: {x: 1}}\n"],
)
def test_anchors_and_merge_keys_are_refused_with_what_to_write_instead(tmp_path, body) -> None:
    with pytest.raises(InputError, match="write 'like: NAME' instead"):
        composed(tmp_path, body)


def test_a_step_with_words_of_its_own_builds_on_the_named_one_beneath(tmp_path) -> None:
    body = (
        "graph: {fit_teacher: {step: {nodes: {ce: {label_smoothing: 0.1}}}},\n"
        "  again: {like: more, step: {minimize: {ce: 2.0}}}, more: {like: fit_teacher, step: {like: supervised}}}\n"
        "results: [fit_teacher, again]\n"
    )
    nodes = check(composed(tmp_path, body)).nodes
    step = nodes["fit_teacher"].params["step"]
    assert (set(step["nodes"]), step["nodes"]["ce"]["label_smoothing"]) == ({"m", "ce"}, 0.1)
    assert nodes["again"].params["step"]["updates"]["main"]["minimize"] == {"ce": 2.0}


def test_like_looks_outwards_and_copied_nodes_are_neighbours(tmp_path) -> None:
    body = (
        "graph:\n  one: {foreach: {x: 2}, do: {test: {like: test, metrics: [nll]}, seen: {like: test}}}\n"
        "  two: {like: one, do: {more: {like: seen, metrics: [accuracy]}}}\n  skip_me: {like: valid, stage: evaluate}\n"
        "arms: {a: {skip_me: {op: constant, shape: [1]}}}\n"
    )
    graph = composed(tmp_path, body, arm="a")["graph"]
    assert graph["one"]["do"]["seen"]["metrics"] == ["nll"]
    assert graph["two"]["do"]["more"] == {**graph["test"], "metrics": ["accuracy"]}
    assert graph["skip_me"] == {"op": "constant", "shape": [1]}, "a part of its own takes the place of a copy"


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


def test_an_arm_reaches_nothing_of_hydras(tmp_path) -> None:
    with pytest.raises(InputError, match="Hydra's own settings come from the command line alone"):
        composed(tmp_path, "arms: {a: {hydra.run.dir: /tmp/elsewhere}}\n", arm="a")


def test_a_defaults_list_reads_no_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KDRUN_MARK", "mlp_tiny")
    header = '# @package _global_\ndefaults: [{override /student: "${oc.env:KDRUN_MARK}"}]\n'
    with pytest.raises(InputError, match="names options plainly"):
        Composer.named(stranger(tmp_path, "", header)).base()


@pytest.mark.parametrize("name", ["null", "true", "1", "über"])
def test_a_recipe_may_be_called_what_yaml_reads_otherwise(tmp_path, name) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text(HEADER + "epochs: 3\n")
    assert Composer.named(str(path)).base().config["epochs"] == 3


@pytest.mark.parametrize("name", ["a,b", "{a: 1}", "glob(*)", "x y=z", "it's"])
def test_a_file_that_hydra_would_read_as_a_choice_is_refused(tmp_path, name) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text(HEADER)
    with pytest.raises(InputError, match="a recipe's name has letters"):
        Composer.named(str(path))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("epoch: 1\n", "nothing reads 'epoch' \\(did you mean 'epochs'"),
        ("scale: {smoke: {epochs: 1}}\n", "nothing reads 'scale' \\(did you mean 'scales'"),
        ("optimiser: {lr: 1.0}\n", "nothing reads 'optimiser' \\(did you mean 'optimizer'"),
        ("arms: [kd]\n", "arms are a mapping from names"),
        ("arms: {a: {like: 3}}\n", "like names an arm or lists some"),
        ("arms: {1: {}, a: {}}\n", "arms are a mapping from names"),
        ("skip: test\n", "skip lists nodes"),
    ],
)
def test_slips_at_the_top_of_a_recipe_are_told(tmp_path, body, message) -> None:
    with pytest.raises(InputError, match=message):
        composed(tmp_path, body, arm="a" if "a:" in body else None)
    assert composed(tmp_path, "mine: 3\nepochs: ${mine}\n")["epochs"] == 3


def test_a_recipe_needs_no_header_and_may_lie_under_recipes(tmp_path, monkeypatch) -> None:
    (tmp_path / "recipes/own").mkdir(parents=True)
    path = tmp_path / "recipes/own/one.yaml"
    path.write_text("# a comment first\ndefaults: [{override /protocol: distillation}]\nepochs: 3\narms: {a: {}}\n")
    monkeypatch.chdir(tmp_path)
    for name in ("own/one", str(path), "recipes/own/one.yaml"):
        found = Composer.named(name).compose(arm="a")
        assert (found.recipe, found.config["epochs"]) == ("own/one", 3)


def test_where_a_layer_went_wrong_is_told_with_file_and_line(tmp_path) -> None:
    body = "arms:\n  a: {fit_student: {batchsize: 1}}\n  b: {epoch: 1}\n"
    with pytest.raises(InputError) as caught:
        composed(tmp_path, body, arm="b")
    assert str(caught.value).startswith(f"{tmp_path}/stranger.yaml:5: arms.b.epoch: 'epoch' is no group")
    experiment = Composer.named(stranger(tmp_path, body)).compose(arm="a")
    with pytest.raises(InputError) as caught:
        check(experiment.config)
    assert "stranger.yaml:4 (arm a): graph.fit_student" in str(experiment.explain(caught.value))


def test_an_arm_that_several_arms_are_like_is_laid_once(tmp_path) -> None:
    body = "arms: {base: {epochs: 1}, p: {like: base, epochs: 5}, q: {like: base, batch_size: 8}, x: {like: [p, q]}}\n"
    config = composed(tmp_path, body, arm="x")
    assert (config["epochs"], config["batch_size"]) == (5, 8)


def test_arms_may_be_changed_and_taken_away_by_the_user(tmp_path) -> None:
    body = "arms: {a: {epochs: 1}, b: {epochs: 2}}\n"
    config = composed(tmp_path, body, "arms.a.epochs=9", "arms.b=null", arm="a")
    assert (config["epochs"], list(config["arms"])) == (9, ["a"])


def test_a_method_of_another_protocol_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="is a method of another protocol than 'distillation'"):
        composed(tmp_path, "", "transfer=unlearning/nothing")


def test_skipped_nodes_of_all_layers_are_left_out(tmp_path) -> None:
    body = "skip: [valid]\narms: {a: {skip: [test]}}\nscales: {tiny: {skip: [teacher_test]}}\n"
    assert set(composed(tmp_path, body, arm="a", scale="tiny")["graph"]) == {"fit_teacher", "fit_student"}


def test_tables_pull_and_results_name_what_else_is_wanted(tmp_path) -> None:
    body = "graph: {unread: {stage: predict, from: [fit_student, data.test]}}\n"
    assert [n.name for n in check(composed(tmp_path, body)).stages()] == ["fit_student", "valid", "test"]
    named = check(composed(tmp_path, body + "results: [unread]\n"))
    assert [n.name for n in named.stages()] == ["fit_student", "valid", "test", "unread"]
    no_table = check(composed(tmp_path, body + "skip: [valid, test]\n"))
    assert [n.name for n in no_table.stages()] == ["fit_teacher", "fit_student", "unread"], (
        "without tables the final stages are wanted"
    )


def test_a_step_with_one_update_needs_no_updates_and_both_are_refused(tmp_path) -> None:
    step = check(composed(tmp_path, "")).nodes["fit_student"].params["step"]
    assert step["updates"] == {"main": {"minimize": {"ce": 1.0}, "train": {"student": True}, "optimizer": "optimizer"}}
    with pytest.raises(InputError, match="'minimize' belongs to an update"):
        check(composed(tmp_path, "graph: {fit_student: {step: {updates: {other: {minimize: {ce: 1.0}}}}}}\n"))


def test_a_rate_may_be_a_factor_of_the_optimizers(tmp_path) -> None:
    body = "optimizer: {lr: 0.02}\ngraph: {fit_student: {step: {groups: {student.head: {lr_factor: 0.5}}}}}\n"
    step = check(composed(tmp_path, body)).nodes["fit_student"].params["step"]
    assert step["updates"]["main"]["groups"] == {"student.head": {"lr": 0.01}}
    with pytest.raises(InputError, match="a rate or a factor, not both"):
        check(composed(tmp_path, body, "fit_student.step.groups={student.head: {lr: 1.0}}"))


def test_a_transfer_method_builds_on_another_one() -> None:
    graph = Composer.named("kd", ["transfer=norm_direction"]).base().config["graph"]
    assert set(graph["fit_student"]["step"]["nodes"]) == {"s", "ce", "t", "kd", "e", "direction"}
    assert graph["fit_student"]["step"]["train"] == {"student": True, "embed": True}


@pytest.mark.parametrize("recipe", sorted(r.name for r in recipe_files()))
def test_every_arm_at_every_scale_composes_and_checks(recipe) -> None:
    """The recipe's files are composed once; every arm at every scale has tables to compute."""
    composer = Composer.named(recipe)
    config = composer.base().config
    for scale in (None, *config["scales"]):
        for arm in config["arms"]:
            experiment = composer.compose(arm=arm, scale=scale)
            try:
                graph = check(experiment.config)
            except InputError as error:
                raise experiment.explain(error) from None
            assert graph.targets, f"{arm} at {scale} has no result"


def test_another_method_of_a_protocol_leaves_none_of_the_recipes_values_for_the_first(tmp_path) -> None:
    body = "transfer: {label_smoothing: 0.3}\narms: {kd: {transfer: kd}, sure: {transfer: kd, transfer.temperature: 1.0}}\n"
    assert composed(tmp_path, body)["transfer"] == {"label_smoothing": 0.3}
    assert "label_smoothing" not in composed(tmp_path, body, arm="kd")["transfer"]
    assert composed(tmp_path, body, arm="sure")["transfer"]["temperature"] == 1.0


def test_a_method_that_does_not_fit_the_data_says_so() -> None:
    experiment = Composer.named("loku", ["data=digits"]).compose()
    with pytest.raises(InputError) as caught:
        check(experiment.config)
    message = str(experiment.explain(caught.value))
    assert "'data' has no field 'reading'" in message
    assert "does not fit data=digits: kdrun list methods unlearning says what it reads" in message


def test_seeds_of_a_grid_reach_interpolations(tmp_path) -> None:
    recipe = stranger(tmp_path, "data: {limit: '${add:${seed},10}'}\narms: {a: {}}\n")
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


ELSEWHERE = {
    "annealed_ratio", "constant_ratio", "free_ratio", "loss_ratio", "margin_ratio", "trilateral_ratio",  # learn from data.valid
    "learned_augmentation", "learned_augmentation_alternating", "learned_augmentation_latent", "learned_augmentation_mix",
    "decoupled_norm_direction", "token_relations",
}  # fmt: skip
"""Methods of distillation that stand in their papers' recipes and not in the leaderboard of torchdistill's toolbox."""


def test_every_protocol_with_three_methods_has_a_leaderboard_of_all_of_them() -> None:
    methods = list(group_options("transfer"))
    on_board: dict[str, set[str]] = {}
    for recipe in recipe_files():
        composer = Composer(recipe)
        base = composer.base()
        if base.config.get("leaderboard"):
            chosen = {str(composer.layered(arm, None).choices["transfer"]) for arm in base.config["arms"]}
            on_board.setdefault(str(base.choices["protocol"]), set()).update(chosen)
    for protocol in group_options("protocol"):
        own = {name for name in methods if name.startswith(f"{protocol}/")}
        missing = {name.partition("/")[2] for name in own - on_board.get(protocol, set())}
        assert len(own) < 3 or missing <= (ELSEWHERE if protocol == "distillation" else set()), protocol


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


def test_yaml_fits_a_screen() -> None:
    shipped = [*conf_dir().rglob("*.yaml"), *(conf_dir().parent / "recipes").rglob("*.yaml")]
    wide = [f"{p}:{i}" for p in shipped for i, line in enumerate(p.read_text().splitlines(), 1) if len(line) > 140]
    assert not wide
    lengths = sorted(len(p.read_text().splitlines()) for p in shipped if "recipes" in p.parts)
    assert lengths[-1] <= 90
    assert lengths[len(lengths) // 2] <= 70
