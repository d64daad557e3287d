"""``plan``: what it says of a miniature, and that paper scale needs no data."""

from __future__ import annotations


def test_plan_says_what_is_still_the_miniatures_and_what_is_not_planned(kdrun) -> None:
    answer = kdrun("plan", "loku", "scale=paper", "arm=original", "teacher.config={num_hidden_layers: 1}")  # for speed
    assert "as in the miniature, not set by scale paper:" in answer.out
    assert "  optimizer.schedule: None  (" in answer.out
    assert "steps: 1500" not in answer.out


def test_names_and_what_is_skipped_are_no_values_of_the_miniature(kdrun) -> None:
    answer = kdrun("plan", "ununlearning", "scale=paper", "arm=original", "teacher.config={num_hidden_layers: 1}")
    assert "  optimizer.schedule: None  (" in answer.out
    assert "  graph." not in answer.out


def test_plan_works_at_paper_scale_with_no_data(kdrun) -> None:
    answer = kdrun("plan", "kd", "scale=paper")
    assert answer.code == 0, answer.err
    assert "student 11.7M teacher 25.6M" in answer.out


def test_what_the_user_chose_is_not_the_miniatures(kdrun) -> None:
    answer = kdrun("plan", "kd", "scale=paper", "teacher=cifar/resnet20")
    assert answer.code == 0, answer.err
    assert "teacher: " not in answer.out


LOOP = "+graph.groups={foreach: {one: {cat: data.valid}}, do: {picked: {stage: evaluate, from: [fit_student, one], metrics: [accuracy]}}}"


def test_names_in_brackets_are_shown_whole(kdrun) -> None:
    """A pass of a loop is named so, which a terminal's markup would swallow."""
    assert "groups[cat].picked" in kdrun("plan", "kd", "arm=scratch", "scale=smoke", LOOP).out
