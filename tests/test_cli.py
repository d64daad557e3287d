"""The command line as a person meets it: results, and one clear line for each kind of mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = ("epochs=1", "data.limit=128")

MISTAKES = [
    (["rum", "kd"], "there is no command 'rum' (did you mean 'run'?)"),
    (["run", "kdd"], "no recipe is called 'kdd' (did you mean 'kd'?)"),
    (
        ["run", "kd", "studnt=cnn_tiny"],
        "'studnt' is no group, node or setting here (did you mean 'student'?)",
    ),
    (["run", "kd", "student=cnn_tny"], "student has no option 'cnn_tny' (did you mean 'cnn_tiny'?)"),
    (["run", "kd", "transfer.temprature=2"], "'transfer' has no key 'temprature' (did you mean 'temperature'?)"),
    (
        ["run", "kd", "transfer.temperature=-1"],
        "conf/transfer/distillation/kd.yaml:12: graph.fit_student.step.nodes.kd.temperature: -1 does not fit temperature: Positive (input should be greater than 0)",
    ),
    (["run", "kd", "student.channels=8"], "student.channels: 8 does not fit channels: list[Count]"),
    (["run", "kd", "+student.chanels=[8]"], "has no parameter 'chanels' (did you mean 'channels'?)"),
    (["run", "kd", "graph.test.metrics=[acuracy]"], "no metric is called 'acuracy' (did you mean 'accuracy'?)"),
    (["run", "kd", "student={name: ~/x}"], "cannot read the override 'student={name: ~/x}'"),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_studet,data.test]"],
        "there is no node 'fit_studet' (did you mean 'fit_student'?)",
    ),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_student,data.tst]"],
        "'data' has no field 'tst' (did you mean 'test'?); it has: train, valid, test",
    ),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_student]"],
        "stage 'evaluate' lacks its input 'data' (it takes, in this order: model, data)",
    ),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_student,data.test,data.valid]"],
        "takes 2 inputs (model, data), got 3",
    ),
    (
        ["run", "kd", "graph.teacher_test.from=[fit_student,fit_student]"],
        "input 'data' of 'evaluate' takes a data, but 'fit_student' is a model",
    ),
    (["run", "kd", "graph.fit_teacher.from.model=fit_student"], "these stages wait for each other: "),
    (["run", "kd", "graph.fit_student.step.nodes.s.from=[kd]"], "these nodes wait for each other: "),
    (
        ["run", "kd", "graph.fit_student.step.nodes.kd.op=kl_divergense"],
        "no op is called 'kl_divergense' (did you mean 'kl_divergence'?)",
    ),
    (["run", "kd", "graph.fit_student.step.nodes.kd.from=[s.logits]"], "op 'kl_divergence' lacks its input 'teacher'"),
    (["run", "kd", "graph.test.stage=evaluat"], "no stage is called 'evaluat' (did you mean 'evaluate'?)"),
    (["run", "kd", "data=folder"], "'root' has no value yet: set data.root=..."),
    (
        ["run", "kd", "data=folder", "data.root=nowhere"],
        "the data folder nowhere does not exist: expected nowhere/train/CLASS/*.png",
    ),
    (["run", "kd", "student=cifar/resnet20", "student.depth=21"], "the depth of a CIFAR ResNet is 6n+2, got 21"),
    (["run", "kd", "hardware.device=tpu"], "device is one of cpu, cuda, mps, got 'tpu'"),
    (["run", "kd", "hardware.precision=fp8"], "precision is one of fp32, bf16, fp16, got 'fp8'"),
    (["reproduce", "kd", "scale=tiny"], "has no scale 'tiny'"),
    (["reproduce", "kd", "--arms", "kd,scrach"], "has no arm 'scrach' (did you mean 'scratch'?)"),
    (["list", "recipes"], "kdrun list shows papers, methods, parts, groups, runs"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_gives_one_line_exit_code_2_and_writes_nothing(kdrun, tmp_path, arguments, message) -> None:
    answer = kdrun(*arguments)
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_run_prints_metrics_and_leaves_records(kdrun, tmp_path) -> None:
    answer = kdrun("run", "kd", *QUICK)
    assert answer.code == 0, answer.err
    assert "test.accuracy" in answer.out
    (result,) = tmp_path.glob("runs/*/*/result.json")
    record = json.loads(result.read_text())
    assert 0 <= record["metrics"]["test.accuracy"] <= 1
    assert {p.name for p in result.parent.iterdir()} >= {
        "config.yaml",
        "environment.json",
        "keys.json",
        "metrics.jsonl",
    }
    assert "stages computed: 0" in kdrun("run", "kd", *QUICK).out


def test_multirun_runs_every_combination(kdrun) -> None:
    answer = kdrun("run", "kd", "-m", "seed=0,1", "transfer=kd,none", *QUICK)
    assert answer.code == 0, answer.err
    assert answer.out.count(" test.accuracy") == 4


def test_a_multirun_sweeps_over_arms_scales_nodes_and_globs(kdrun, tmp_path) -> None:
    answer = kdrun("run", "kd", "-m", "arm=kd,scratch", "scale=smoke", "fit_student.epochs=1,2")
    assert answer.code == 0, answer.err
    assert answer.out.count(" test.accuracy") == 4
    assert "[arm=scratch scale=smoke fit_student.epochs=2] test.accuracy" in answer.out
    assert {p.name for p in tmp_path.iterdir()} == {"runs", "store"}, "nothing is left beside the records"
    methods = kdrun("run", "kd", "-m", "transfer=glob(label*)", *QUICK)
    assert "[transfer=label_smoothing epochs=1 data.limit=128] test.accuracy" in methods.out
    empty = kdrun("run", "kd", "-m", "transfer=glob(zzz*)", *QUICK)
    assert (empty.code, empty.out) == (2, "")
    assert "'transfer=glob(zzz*)' matches no option" in empty.err
    assert "add -m to run each" in kdrun("run", "kd", "epochs=1,2").err


def test_every_command_takes_an_arm_and_a_scale(kdrun, tmp_path) -> None:
    words = ("kd", "arm=scratch", "scale=smoke")
    assert "fit_teacher" not in kdrun("show", *words).out
    assert kdrun("check", *words).out == "distillation/kd [scratch]: 3 stages, all well\n"
    assert "fit_teacher" not in kdrun("plan", *words).out
    assert kdrun("run", *words).code == 0
    assert "stages computed: 0" in kdrun("run", *words).out
    assert kdrun("export", *words, "--output", "out.safetensors").code == 0
    assert (tmp_path / "out.safetensors").is_file()
    once = kdrun("reproduce", *words, "seeds=1", "--jobs", "1")
    assert "scratch  1" in once.out
    assert "label_smoothing" not in once.out
    assert "has no arm 'scrtch' (did you mean 'scratch'?)" in kdrun("plan", "kd", "arm=scrtch").err


def test_plan_says_what_is_still_the_miniatures_and_what_is_not_planned(kdrun) -> None:
    answer = kdrun("plan", "loku", "scale=paper", "arm=original")
    assert "as in the miniature, not set by scale paper:" in answer.out
    assert "  optimizer.schedule: None  (" in answer.out
    assert "steps: 1500" not in answer.out


def test_list_methods_says_what_each_needs(kdrun) -> None:
    answer = kdrun("list", "methods", "unlearning")
    assert "unlearning/low_rank_forgetting" in answer.out
    assert "data.forget, " in answer.out
    assert "use: " in answer.out
    assert "distillation/kd" not in answer.out


def test_in_a_multirun_one_failing_job_does_not_stop_the_others(kdrun) -> None:
    answer = kdrun("run", "kd", "-m", "transfer=none", "optimizer.lr=1e30,0.05", *QUICK)
    assert answer.code == 1
    assert "the loss became" in answer.err
    assert answer.out.count(" test.accuracy") == 1


def test_plan_and_run_tell_of_a_last_batch_too_small_for_its_statistics(kdrun) -> None:
    small = ("kd", "epochs=1", "teacher_epochs=1", "batch_size=64", "data.limit=66")
    told = "fit_student: batch statistics of the 2 rows"
    assert told in kdrun("plan", *small).out
    assert told in kdrun("run", *small).err
    without = [*small, "+graph.fit_student.drop_last=true", "+graph.fit_teacher.drop_last=true"]
    assert "batch statistics" not in kdrun("plan", *without).out
    assert "batch statistics" not in kdrun("run", *without).err


def test_hydras_own_flags_work(kdrun) -> None:
    answer = kdrun("run", "kd", "transfer.temperature=2", "--cfg", "job")
    assert answer.code == 0
    assert "temperature: 2" in answer.out
    info = subprocess.run(
        [sys.executable, "-m", "kdrun", "run", "kd", "--info", "searchpath"], capture_output=True, text=True
    )
    assert "Config search path" in info.stdout


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("kdrun ru", {"run", "runs"}),
        ("kdrun run lok", {"loku", "lokt"}),
        ("kdrun run kd tr", {"transfer=", "transfer.", "tracker=", "tracker."}),
        ("kdrun run kd transfer=la", {"transfer=label_smoothing"}),
        ("kdrun plan kd sca", {"scale=", "scales."}),
        ("kdrun plan kd scale=", {"scale=smoke", "scale=paper"}),
        ("kdrun run kd arm=s", {"arm=scratch"}),
        ("kdrun run loku unlearn.st", {"unlearn.stage=", "unlearn.step.", "unlearn.steps="}),
        ("kdrun run loku arm=gd unlearn.batch_s", {"unlearn.batch_size="}),
    ],
)
def test_tab_completion_knows_recipes_arms_scales_methods_and_nodes(kdrun, monkeypatch, line, found) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert set(kdrun("-sc", "query=bash").out.split()) == found


def test_reproduce_gives_table_verdicts_and_page(kdrun, tmp_path) -> None:
    answer = kdrun("reproduce", "kd", "scale=smoke", "seeds=2", "--jobs", "1")
    assert answer.code == 0, answer.err
    assert "beats_scratch" in answer.out
    assert "arm              seeds  test.accuracy\n" in answer.out  # the metrics that the claims name
    page = (tmp_path / "runs/distillation-kd/reproduce-smoke/report.html").read_text()
    assert "<script" not in page
    assert page.count("<svg") > 5
    assert "test.nll" in page
    again = kdrun("reproduce", "kd", "scale=smoke", "seeds=2", "--quiet")
    assert again.out == answer.out


def test_reproduce_in_two_processes_gives_the_same_table(kdrun, monkeypatch, tmp_path) -> None:
    one = kdrun("reproduce", "kd", "scale=smoke", "seeds=2", "--jobs", "1")
    two = kdrun("reproduce", "kd", "scale=smoke", "seeds=2", "--jobs", "2", f"store={tmp_path / 'other'}")
    assert one.out == two.out


def test_what_fails_is_told_and_the_rest_is_judged(kdrun, tmp_path) -> None:
    recipe = tmp_path / "wild.yaml"
    recipe.write_text(
        "# @package _global_\ndefaults: [{override /transfer: distillation/none}]\ndata: {limit: 128}\nepochs: 1\nseeds: 2\n"
        "arms: {tame: {}, slow: {optimizer.lr: 0.001}, wild: {optimizer.lr: 1.0e30}}\nclaims:\n"
        "  bounded: {says: b, test: tame.test.nll < 100.0}\n"
        "  beaten: {says: t, test: tame.test.accuracy > wild.test.accuracy}\n"
        "  harmless: {says: h, test: 'at least 90 % of arms: test.accuracy >= slow.test.accuracy - 1.0'}\n"
    )
    for _ in range(2):
        answer = kdrun("reproduce", str(recipe), "--jobs", "1")
        assert answer.code == 1
        assert "kdrun: [wild seed 0] failed" in answer.err
        assert "the loss became" in answer.err
        assert "wild  0 of 2" in answer.out
        assert "✓ reproduced    bounded" in answer.out
        assert "? undecided     beaten" in answer.out
        assert "wild failed in 2 of 2 seeds" in answer.out
        assert "✗ contradicted  harmless" in answer.out
    assert (tmp_path / "runs/wild/reproduce-small/report.html").is_file()


def test_a_claim_on_what_nothing_measured_is_told_below_the_table(kdrun, tmp_path) -> None:
    recipe = tmp_path / "slip.yaml"
    recipe.write_text(
        "defaults: [{override /transfer: distillation/none}]\ndata: {limit: 128}\nepochs: 1\nseeds: 1\n"
        "arms: {a: {}}\nclaims:\n  c: {says: b, test: a.test.acuracy > 0.5}\n"
    )
    answer = kdrun("reproduce", str(recipe), "--jobs", "1")
    assert answer.code == 2
    assert (
        "slip.yaml:7: claims.c.test: arm 'a' measured no 'test.acuracy' (did you mean 'test.accuracy'?)" in answer.err
    )
    assert "test.nll" in answer.out


def test_where_arms_choose_their_methods_the_user_chooses_none_for_all(kdrun) -> None:
    answer = kdrun("reproduce", "kd", "transfer=hint", "scale=smoke")
    assert answer.code == 2
    assert "arms choose their own 'transfer' (scratch, label_smoothing)" in answer.err
    assert "a run has one seed" in kdrun("run", "kd", "seeds=[3,7]").err


def test_jobs_that_fail_in_other_processes_fail_the_multirun(kdrun) -> None:
    answer = kdrun("run", "kd", "-m", "launcher=joblib", "arm=scratch", "optimizer.lr=1e30,2e30", *QUICK)
    assert answer.code == 1


def test_an_arm_without_the_users_knob_runs_without_it(kdrun) -> None:
    answer = kdrun("reproduce", "kd", "scale=smoke", "seeds=1", "transfer.temperature=2", "--jobs", "1")
    assert answer.code == 0, answer.err
    assert "transfer.temperature=2 means nothing in arm scratch, label_smoothing" in answer.err
    one = kdrun("run", "kd", "arm=scratch", "scale=smoke", "transfer.temperature=2")
    assert one.code == 2
    assert "'transfer' has no key 'temperature'" in one.err


def test_export_round_trips_through_safetensors_and_torch(kdrun, tmp_path) -> None:
    import torch
    from safetensors.torch import load_file

    from kdrun.models.building import build

    kdrun("run", "kd", *QUICK)
    (run,) = [str(p.parent.relative_to(tmp_path)) for p in tmp_path.glob("runs/*/*/result.json")]
    assert kdrun("export", run).code == 0
    weights = load_file(tmp_path / run / "fit_student.safetensors")
    spec = {
        "model": "cnn",
        "channels": [8, 16, 32],
        "kernel_size": 3,
        "num_classes": 10,
        "in_channels": 1,
        "image_size": 8,
    }
    network = build(spec).eval()
    network.load_state_dict(weights)
    assert kdrun("export", run, "--format", "torch").code == 0
    program = torch.export.load(tmp_path / run / "fit_student.pt2").module()
    image = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(program(image), network(image))
    assert (
        "has no train stage 'fit_studet' (did you mean 'fit_student'?)"
        in kdrun("export", run, "--stage", "fit_studet").err
    )


def test_a_student_starts_from_an_exported_checkpoint_and_another_architecture_is_refused(kdrun, tmp_path) -> None:
    kdrun("run", "kd", *QUICK)
    (run,) = tmp_path.glob("runs/*/*")
    kdrun("export", str(run), "--output", "student.safetensors")
    assert kdrun("run", "kd", "transfer=none", "student.weights=student.safetensors", *QUICK).code == 0
    wrong = kdrun("run", "kd", "student=mlp_tiny", "student.weights=student.safetensors", *QUICK)
    assert wrong.code == 2
    assert "checkpoint student.safetensors is of another architecture" in wrong.err
    assert "does not exist" in kdrun("run", "kd", "student.weights=none.safetensors", *QUICK).err


@pytest.mark.parametrize("form", ["text", "yaml", "mermaid", "svg"])
def test_show_draws_every_stage(kdrun, form) -> None:
    answer = kdrun("show", "kd", "--format", form)
    assert answer.code == 0
    assert all(name in answer.out for name in ("fit_teacher", "fit_student", "teacher_test"))


@pytest.mark.parametrize("form", ["text", "yaml", "mermaid", "svg"])
def test_show_draws_graphs_with_loops(kdrun, form) -> None:
    answer = kdrun("show", "federated/knfu", "scale=smoke", "--format", form)
    assert answer.code == 0, answer.err
    assert "federation[0]" in answer.out


def test_list_and_runs(kdrun) -> None:
    assert "1503.02531" in kdrun("list").out
    assert "kl_divergence" in kdrun("list", "parts", "--kind", "op", "hinton").out
    assert "student=cifar/resnet8x4" in kdrun("list", "groups", "resnet8x4").out
    assert "no runs" in kdrun("runs").out
    kdrun("run", "kd", *QUICK)
    assert "test.accuracy" in kdrun("runs", "--sort", "test.accuracy").out
    assert json.loads(kdrun("runs", "--json").out)["recipe"] == "distillation/kd"


def test_a_recipe_that_cannot_be_read_spoils_no_list(kdrun, tmp_path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/broken.yaml").write_text("a: b: c\n")
    answer = kdrun("list")
    assert "1503.02531" in answer.out
    assert "broken" in answer.out
    assert "not plain YAML" in answer.out


def test_plan_works_at_paper_scale_with_no_data(kdrun) -> None:
    answer = kdrun("plan", "kd", "scale=paper")
    assert answer.code == 0, answer.err
    assert "student 11.7M teacher 25.6M" in answer.out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys\nfrom kdrun.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nassert not {'torch', 'hydra', 'rich', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_ctrl_c_says_how_to_go_on(kdrun, monkeypatch) -> None:
    from kdrun.engine.executor import Executor

    def interrupt(self, node, key):
        raise KeyboardInterrupt

    monkeypatch.setattr(Executor, "_compute", interrupt)
    answer = kdrun("run", "kd", *QUICK)
    assert answer.code == 130
    assert "kdrun run kd epochs=1 data.limit=128" in answer.err


RECIPES = sorted(p.relative_to(Path("recipes")).with_suffix("").as_posix() for p in Path("recipes").rglob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_smokes(kdrun, recipe) -> None:
    answer = kdrun("reproduce", recipe, "scale=smoke", "seeds=1", "--jobs", "1")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_checks(kdrun, recipe) -> None:
    answer = kdrun("check", recipe)
    assert answer.code == 0, answer.err


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_arm_plans_at_every_scale(recipe, tmp_path) -> None:
    """Shapes, gradients and sizes, at small and at paper scale (smoke is planned where it is run).

    A train stage without figures says that it is not planned; it has 0 FLOPs only where no update ever runs.
    """
    from kdrun.config.compose import Composer
    from kdrun.engine.session import Session

    composer = Composer.named(recipe, [f"store={tmp_path / 'store'}"])
    config = composer.base().config
    for scale in (None, *(scale for scale in config["scales"] if scale != "smoke")):
        known: dict = {}
        for arm in config["arms"]:
            session = Session(composer.compose(arm=arm, scale=scale))
            for stage in session.plan(known).stages:
                step = session.graph.nodes[stage.name].params.get("step")
                updates = (step.get("updates") or {}) if isinstance(step, dict) else {}
                still = stage.kind != "train" or all(update.get("every") == 0 for update in updates.values())
                assert still or stage.unplanned or stage.flops, f"{arm} at {scale}: {stage.name}"
