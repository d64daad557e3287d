"""Verdicts over seeds, against SciPy and by hand."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from kdrun.claims import check_claims, check_measured, claimed_metrics, judge, mean_interval
from kdrun.errors import InputError


def claim(**test):
    return {"says": "so", "test": test}


def results(a: list[float], b: list[float]) -> dict:
    return {
        "a": {i: {"test.accuracy": v} for i, v in enumerate(a)},
        "b": {i: {"test.accuracy": v} for i, v in enumerate(b)},
    }


A, B = "a.test.accuracy", "b.test.accuracy"


def test_interval_is_that_of_a_paired_t_test() -> None:
    first, second = [0.9, 0.85, 0.95, 0.91], [0.8, 0.82, 0.86, 0.85]
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    found = judge("c", claim(greater=[A, B]), results(first, second)).interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_value_has_no_interval() -> None:
    assert math.isnan(mean_interval([1.0]).low)
    verdict = judge("c", claim(greater=[A, B]), results([0.9], [0.1]))
    assert (verdict.outcome, verdict.note) == ("undecided", "needs at least two seeds")


@pytest.mark.parametrize(
    ("test", "a", "b", "outcome"),
    [
        ({"greater": [A, B]}, [0.9, 0.91, 0.92], [0.5, 0.5, 0.52], "reproduced"),
        ({"greater": [A, B]}, [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "contradicted"),
        ({"greater": [A, B]}, [0.5, 0.9, 0.7], [0.7, 0.5, 0.9], "undecided"),
        ({"greater": [A, B], "by": 0.5}, [0.9, 0.91, 0.92], [0.5, 0.5, 0.52], "contradicted"),
        ({"greater": [A, B], "by": -0.1}, [0.5, 0.51, 0.5], [0.5, 0.5, 0.51], "reproduced"),
        ({"greater": [f"{A} - {B}", f"0.5 * {B}"]}, [0.9, 0.91, 0.92], [0.5, 0.5, 0.52], "reproduced"),
        ({"greater": [f"{A} - {B}", f"{B}"]}, [0.9, 0.91, 0.92], [0.5, 0.5, 0.52], "contradicted"),
        ({"less": [A, B]}, [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "reproduced"),
        ({"within": [A, B], "by": 0.05}, [0.5, 0.51, 0.5], [0.5, 0.5, 0.51], "reproduced"),
        ({"within": [A, B], "by": 0.001}, [0.5, 0.51, 0.5], [0.5, 0.5, 0.51], "undecided"),
        ({"within": [A, B], "by": 0.05}, [0.5, 0.51, 0.5], [0.9, 0.9, 0.91], "contradicted"),
        ({"above": [A, 0.4]}, [0.5, 0.51, 0.5], [0], "reproduced"),
        ({"below": [A, 0.4]}, [0.5, 0.51, 0.5], [0], "contradicted"),
        ({"greater": [A, B], "every_seed": True}, [0.9, 0.6], [0.5, 0.5], "reproduced"),
        ({"greater": [A, B], "every_seed": True}, [0.9, 0.4], [0.5, 0.5], "contradicted"),
        ({"greater": [A, B], "seed_share": 0.8}, [0.9, 0.9, 0.9, 0.9, 0.1], [0.5] * 5, "reproduced"),
        ({"greater": [A, B], "seed_share": 0.8}, [0.9, 0.9, 0.9, 0.4, 0.4], [0.5] * 5, "contradicted"),
        ({"below": [A, 0.5], "seed_share": 0.5}, [0.4, 0.6], [0.0, 0.0], "reproduced"),
        ({"greater": [A, B]}, [0.5, 0.5], [0.5, 0.5], "contradicted"),
    ],
)
def test_outcomes(test, a, b, outcome) -> None:
    assert judge("c", claim(**test), results(a, b)).outcome == outcome


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (claim(greater=["c.test.accuracy", B]), "there is no arm 'c'"),
        (claim(grater=[A, B]), "got 'grater' \\(did you mean 'greater'\\?\\)"),
        (claim(greater=[A]), "takes a list of two"),
        (claim(greater=[A, B], seed_share=4), "above 0 and at most 1, got 4"),
        (claim(greater=["a", B]), "names metrics as arm.node.metric"),
        ({"test": {"greater": [A, B]}}, "a claim reads"),
    ],
)
def test_claims_that_nothing_could_decide_are_refused(content, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_claims({"mine": content}, ["a", "b"])
    assert caught.value.key.startswith("claims.mine")


def test_a_metric_that_was_not_measured_is_named() -> None:
    with pytest.raises(InputError, match="measured no 'test.acuracy' \\(did you mean 'test.accuracy'\\?\\)"):
        judge("c", claim(greater=["a.test.acuracy", B]), results([1, 2], [1, 2]))


def test_a_name_that_yaml_reads_as_true_is_refused() -> None:
    content = {"c": {**claim(greater=[A, B]), "reported": {True: "CIFAR-100"}}}
    with pytest.raises(InputError, match="is no name"):
        check_claims(content, ["a", "b"])


def test_a_metric_that_no_node_of_its_arm_could_measure_is_refused_before_the_run() -> None:
    claims = {"c": claim(greater=["a.test.accuracy - 0.5 * b.tets.accuracy", "b.test.accuracy"])}
    check_measured(claims, {"a": ["fit", "test"], "b": ["fit", "test", "tets"]})
    with pytest.raises(
        InputError, match="arm 'b' has no node that measures 'tets.accuracy' \\(did you mean 'test'\\?\\)"
    ) as caught:
        check_measured(claims, {"a": ["fit", "test"], "b": ["fit", "test"]})
    assert caught.value.key == "claims.c.test.greater"


def test_claimed_metrics_come_in_order_and_once() -> None:
    claims = {
        "one": claim(greater=["a.seen[x].score.f1 + b.other.f1", "b.seen[x].score.f1"]),
        "two": claim(share=["test.accuracy", "b.test.accuracy"], least=0.5),
        "three": claim(below=["a.cost.queries", 3]),
    }
    assert claimed_metrics(claims) == ["seen[x].score.f1", "other.f1", "test.accuracy", "cost.queries"]


def test_a_failed_arm_leaves_its_claims_undecided_and_counts_against_a_share() -> None:
    found = results([0.9, 0.91, 0.92], [0.5, 0.5, 0.52])
    del found["a"][1]
    verdict = judge("c", claim(greater=[A, B]), found)
    assert (verdict.outcome, verdict.note) == ("undecided", "a failed in 1 of 3 seeds")
    share = judge("c", claim(share=["test.accuracy", B], least=0.5), found)
    assert share.differences == (1.0, 0.0, 1.0)
    assert judge("c", claim(above=[B, 0.1]), found).outcome == "reproduced"
