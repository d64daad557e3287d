"""``reproduce``: tables, verdicts, pages, and arms that fail."""

from __future__ import annotations

import pytest

from support.recipes import NO_TRANSFER, write_recipe


def test_reproduce_gives_table_verdicts_and_page(kdrun, tmp_path) -> None:
    answer = kdrun("reproduce", "kd", "scale=smoke", "seeds=2", "--jobs", "1")
    assert answer.code == 0, answer.err
    assert "beats_scratch" in answer.out
    assert "arm              seeds  test.accuracy\n" in answer.out  # the metrics that the claims name
    assert "\nobjective: maximize valid.accuracy; best arm: " in answer.out
    page = (tmp_path / "runs/distillation-kd/reproduce-smoke/report.html").read_text()
    assert "<script" not in page
    assert page.count("<svg") > 5
    assert "test.nll" in page
    again = kdrun("reproduce", "kd", "scale=smoke", "seeds=2", "--quiet")
    assert again.out == answer.out


def test_settings_and_some_arms_have_pages_of_their_own(kdrun, tmp_path) -> None:
    body = "data: {limit: 128}\nepochs: 1\nseeds: 1\narms: {fast: {}, slow: {optimizer.lr: 0.001}}\npaper: {arxiv: '1503.02531'}\n"
    recipe = write_recipe(tmp_path, body, NO_TRANSFER, name="study")
    assert kdrun("reproduce", recipe, "--jobs", "1").code == 0
    whole = (tmp_path / "runs/study/reproduce-small/report.html").read_text()
    assert '<a href="https://arxiv.org/abs/1503.02531">arXiv 1503.02531</a>' in whole
    assert "reproduce-small-arms=slow/report.html" in kdrun("reproduce", recipe, "--arms", "slow").out
    said = kdrun("reproduce", recipe, "batch_size=32", f"store={tmp_path / 'store'}", "--jobs", "1").out
    assert "reproduce-small-batch_size=32/report.html" in said
    assert (tmp_path / "runs/study/reproduce-small/report.html").read_text() == whole


@pytest.mark.slow
def test_reproduce_in_two_processes_gives_the_same_table(kdrun, monkeypatch, tmp_path) -> None:
    one = kdrun("reproduce", "kd", "scale=smoke", "seeds=2", "--jobs", "1")
    two = kdrun("reproduce", "kd", "scale=smoke", "seeds=2", "--jobs", "2", f"store={tmp_path / 'other'}")
    assert one.out == two.out


def test_what_fails_is_told_and_the_rest_is_judged(kdrun, tmp_path) -> None:
    body = (
        "data: {limit: 128}\nepochs: 1\nseeds: 2\n"
        "arms: {tame: {}, slow: {optimizer.lr: 0.001}, wild: {optimizer.lr: 1.0e30}}\nclaims:\n"
        "  bounded: {says: b, test: tame.test.nll < 100.0}\n"
        "  beaten: {says: t, test: tame.test.accuracy > wild.test.accuracy}\n"
        "  harmless: {says: h, test: 'at least 90 % of arms: test.accuracy >= slow.test.accuracy - 1.0'}\n"
    )
    recipe = write_recipe(tmp_path, body, NO_TRANSFER, name="wild")
    for _ in range(2):
        answer = kdrun("reproduce", recipe, "--jobs", "1")
        assert answer.code == 1
        assert "kdrun: [wild seed 0] failed" in answer.err
        assert "the loss became" in answer.err
        assert "wild  0 of 2" in answer.out
        assert "✓ reproduced        bounded (secondary)" in answer.out
        assert "? undecided         beaten" in answer.out
        assert "wild failed in 2 of 2 seeds" in answer.out
        assert "✗ contradicted      harmless" in answer.out
    assert (tmp_path / "runs/wild/reproduce-small/report.html").is_file()


def test_a_claim_on_what_nothing_measured_is_told_below_the_table(kdrun, tmp_path) -> None:
    body = (
        "data: {limit: 128}\nepochs: 1\nseeds: 1\n"
        "arms: {a: {}}\ngraph: {test: {metrics: [accuracy, {metric: h_score, name: open}]}}\n"
        "claims:\n  c: {says: b, test: a.test.open.knwon > 0.5}\n"
    )
    recipe = write_recipe(tmp_path, body, NO_TRANSFER, name="slip")
    answer = kdrun("reproduce", recipe, "--jobs", "1")
    assert answer.code == 2
    told = "slip.yaml:9: claims.c.test: arm 'a' measures no"
    assert f"{told} 'test.open.knwon' (did you mean 'test.open.known'?)" in answer.err
    assert "test.open.known" in answer.out
    write_recipe(tmp_path, body.replace("open.knwon", "acuracy"), NO_TRANSFER, name="slip")
    for command in ("reproduce", "check", "plan"):  # what is known before the run is told before it
        answer = kdrun(command, recipe)
        assert answer.code == 2
        assert f"{told} 'test.acuracy' (did you mean 'test.accuracy'?)" in answer.err
        assert "test.open" not in answer.out


def test_where_arms_choose_their_methods_the_user_chooses_none_for_all(kdrun) -> None:
    answer = kdrun("reproduce", "kd", "transfer=hint", "scale=smoke")
    assert answer.code == 2
    assert "arms choose their own 'transfer' (scratch, label_smoothing)" in answer.err
    assert "a run has one seed" in kdrun("run", "kd", "seeds=[3,7]").err


def test_an_arm_without_the_users_knob_runs_without_it(kdrun) -> None:
    answer = kdrun("reproduce", "kd", "scale=smoke", "seeds=1", "transfer.temperature=2", "--jobs", "1")
    assert answer.code == 0, answer.err
    assert "transfer.temperature=2 means nothing in arm scratch, label_smoothing" in answer.err
    one = kdrun("run", "kd", "arm=scratch", "scale=smoke", "transfer.temperature=2")
    assert one.code == 2
    assert "'transfer' has no key 'temperature'" in one.err


LOOKED_AT = (
    "data: {limit: 128}\nepochs: 1\nseeds: 2\narms: {tame: {}, wild: {optimizer.lr: 1.0e30}}\nclaims:\n"
    "  bounded: {says: b, test: tame.test.nll < 100.0, kind: KIND}\n"
    "  beaten: {says: t, test: tame.test.accuracy > wild.test.accuracy, kind: main}\n"
)


@pytest.mark.slow
def test_seeds_are_added_until_the_main_claims_are_decided_or_there_are_most(kdrun, tmp_path) -> None:
    recipe = write_recipe(tmp_path, LOOKED_AT.replace("KIND", "check"), NO_TRANSFER, name="looks")
    answer = kdrun("reproduce", recipe, "--jobs", "1", "--until-decided", "--max-seeds", "3")
    assert "look 1 of 2, 2 seeds; undecided: beaten" in answer.err
    assert "look 2 of 2, 3 seeds; undecided: beaten" in answer.err
    assert "2 of 2 seeds; means" in answer.out, "decided by the first look"
    assert "at look 1 of 2" in answer.out
    again = kdrun("reproduce", recipe, "--quiet", "--until-decided", "--max-seeds", "3")
    assert again.out == answer.out
    write_recipe(tmp_path, LOOKED_AT.replace("main", "check").replace("KIND", "main"), NO_TRANSFER, name="looks")
    answer = kdrun("reproduce", recipe, "--jobs", "1", "--until-decided", "--max-seeds", "3")
    assert "look 1 of 2, 2 seeds; decided" in answer.err
    assert "look 2" not in answer.err


def test_what_cannot_be_decided_is_refused(kdrun) -> None:
    for given, message in (
        (("kd", "scale=smoke", "--until-decided", "--max-seeds", "9"), "scale smoke only tries all arms"),
        (("kd", "--until-decided"), "go together"),
        (("kd", "--max-seeds", "9"), "go together"),
        (("kd", "seeds=[3,7]", "--until-decided", "--max-seeds", "9"), "seeds are counted"),
        (("kd", "--until-decided", "--max-seeds", "3"), "at most --max-seeds, got 3"),
        (("kd", "arm=kd", "--until-decided", "--max-seeds", "9"), "no claims to decide"),
    ):
        answer = kdrun("reproduce", *given)
        assert answer.code == 2
        assert message in answer.err


def test_an_arm_is_claimed_of_or_says_why_it_is_there_and_is_named_where_it_beats_the_method(kdrun, tmp_path) -> None:
    body = (
        "data: {limit: 128}\nepochs: 1\nseeds: 2\nlooked_at: [7]\n"
        "arms: {method: {epochs: 1}, still: {optimizer.lr: 1.0e-9}, longer: {epochs: 12}}\nclaims:\n"
        "  learns: {says: b, test: method.test.nll < still.test.nll, kind: main}\n"
    )
    recipe = write_recipe(tmp_path, body, NO_TRANSFER, name="unclaimed")
    for command in ("check", "plan", "reproduce"):
        answer = kdrun(command, recipe)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert "no claim reads arm 'longer'" in answer.err
    told = body.replace("{epochs: 12}", "{exploratory: to its end, epochs: 12}")
    recipe = write_recipe(tmp_path, told, NO_TRANSFER, name="unclaimed")
    answer = kdrun("reproduce", recipe, "seeds=[6,7]")
    assert answer.code == 2
    assert "looking at seeds 7" in answer.err
    answer = kdrun("reproduce", recipe, "--jobs", "1")
    assert "! no claim reads longer, ahead of method by " in answer.out
    assert "(learns; exploratory: to its end)" in answer.out
    assert "still, ahead" not in answer.out
    page = (tmp_path / "runs/unclaimed/reproduce-small/report.html").read_text()
    assert "no claim reads longer" in page
    assert "<b>longer</b> (to its end)" in page
    frozen = (tmp_path / "runs/unclaimed/reproduce-small/claims.json").read_text()
    write_recipe(tmp_path, told.replace("still.test.nll,", "still.test.nll + 0.5,"), NO_TRANSFER, name="unclaimed")
    later = kdrun("reproduce", recipe, "--jobs", "1").out
    assert "! claims were changed after seeds 0, 1 had been run" in later
    assert frozen != (tmp_path / "runs/unclaimed/reproduce-small/claims.json").read_text()
