"""Claims as sentences, and verdicts over seeds, against SciPy and by hand."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from kdrun.claims import check_claims, check_measured, claimed_metrics, judge, mean_interval
from kdrun.errors import InputError


def claim(test: str) -> dict:
    return {"test": test, "says": "so"}


def results(a: list[float], b: list[float]) -> dict:
    return {
        "a": {i: {"test.accuracy": v} for i, v in enumerate(a)},
        "b": {i: {"test.accuracy": v} for i, v in enumerate(b)},
    }


A, B = "a.test.accuracy", "b.test.accuracy"


def test_interval_is_that_of_a_paired_t_test() -> None:
    first, second = [0.9, 0.85, 0.95, 0.91], [0.8, 0.82, 0.86, 0.85]
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    found = judge("c", claim(f"{A} > {B}"), results(first, second)).distance
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    turned = judge("c", claim(f"{B} < {A} - 0.02"), results(first, second))
    assert turned.distance.low == pytest.approx(expected.low - 0.02), "above 0 as claimed, whatever the sign"
    assert judge("c", claim(f"{B} < {A}"), results(first, second)).p == pytest.approx(
        stats.ttest_rel(first, second).pvalue
    )


def test_one_value_has_no_interval() -> None:
    assert math.isnan(mean_interval([1.0]).low)
    verdict = judge("c", claim(f"{A} > {B}"), results([0.9], [0.1]))
    assert (verdict.outcome, verdict.note) == ("undecided", "needs at least two seeds")


@pytest.mark.parametrize(
    ("test", "a", "b", "outcome"),
    [
        (f"{A} > {B}", [0.9, 0.91, 0.92], [0.5, 0.5, 0.52], "reproduced"),
        (f"{A} > {B}", [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "contradicted"),
        (f"{A} > {B}", [0.5, 0.9, 0.7], [0.7, 0.5, 0.9], "undecided"),
        (f"{A} > {B} + 0.5", [0.9, 0.91, 0.92], [0.5, 0.5, 0.52], "contradicted"),
        (f"{A} >= {B} - 0.1", [0.5, 0.51, 0.5], [0.5, 0.5, 0.51], "reproduced"),
        (f"{A} - {B} > 0.5 * {B}", [0.9, 0.91, 0.92], [0.5, 0.5, 0.52], "reproduced"),
        (f"{A} - {B} > {B}", [0.9, 0.91, 0.92], [0.5, 0.5, 0.52], "contradicted"),
        (f"{A} < {B}", [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "reproduced"),
        (f"{A} < 0.6 * {B}", [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "reproduced"),
        (f"{A} / {B} < 0.6", [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "reproduced"),
        (f"{A} / {B} > 0.6", [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "contradicted"),
        (f"{A} ~ {B} ± 0.05", [0.5, 0.51, 0.5], [0.5, 0.5, 0.51], "equal"),
        (f"{A} ~ {B} ± 0.001", [0.5, 0.51, 0.5], [0.5, 0.5, 0.51], "undecided"),
        (f"{A} ~ {B} ± 0.05", [0.5, 0.51, 0.5], [0.9, 0.9, 0.91], "contradicted"),
        (f"{A} > 0.4", [0.5, 0.51, 0.5], [0], "reproduced"),
        (f"{A} < 0.4", [0.5, 0.51, 0.5], [0], "contradicted"),
        (f"{A} > -1.0e-6", [0.0, 0.0, 0.0], [0], "reproduced"),
        (f"{A} > {B} in every seed", [0.9, 0.91, 0.92], [0.5, 0.5, 0.52], "reproduced"),
        (f"{A} > {B} in every seed", [0.9, 0.9, 0.91, 0.92, 0.49], [0.5, 0.5, 0.5, 0.52, 0.5], "undecided"),
        (f"{A} > {B} in every seed", [0.9, 0.6], [0.5, 0.5], "undecided"),
        (f"{A} > {B} in every seed", [0.4, 0.41, 0.4, 0.51, 0.4, 0.41], [0.5] * 6, "contradicted"),
        (f"{A} > {B} in 80 % of the seeds", [0.9, 0.91, 0.9, 0.8, 0.49], [0.5] * 5, "reproduced"),
        (f"{A} > {B} in 80 % of the seeds", [0.9, 0.91, 0.9, 0.4, 0.4], [0.5] * 5, "undecided"),
        (f"{A} < 0.5 in 50% of the seeds", [0.4, 0.41, 0.41], [0.0] * 3, "reproduced"),
        (f"{A} > {B}", [0.5, 0.5], [0.5, 0.5], "contradicted"),
        (f"{A} >= {B}", [0.5, 0.5], [0.5, 0.5], "reproduced"),
        ("test.accuracy rises over a, b", [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "reproduced"),
        ("test.accuracy falls over a, b", [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "contradicted"),
        (f"rank of {B} among a <= 1", [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "reproduced"),
        (f"rank of {A} among b <= 1", [0.5, 0.5, 0.52], [0.9, 0.91, 0.92], "contradicted"),
        (f"at least 100 % of arms: test.accuracy >= {B} + 0.3", [0.9, 0.9], [0.5, 0.5], "reproduced"),
        (f"at least 100 % of arms: test.accuracy >= {B} + 0.5", [0.9, 0.9], [0.5, 0.5], "contradicted"),
        ("at least 50 % of arms: test.accuracy >= 0.7", [0.9, 0.9], [0.5, 0.5], "reproduced"),
        ("at least 60 % of arms: test.accuracy >= 0.7", [0.9, 0.9], [0.5, 0.5], "contradicted"),
    ],
)
def test_outcomes(test, a, b, outcome) -> None:
    verdict = judge("c", claim(test), results(a, b))
    assert verdict.outcome == outcome
    assert verdict.test == test, "printed as it is written"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (claim(f"c.test.accuracy > {B}"), "there is no arm 'c'"),
        (claim(f"{A} is above {B}"), "compares nothing"),
        (claim(f"{A} > {B} > 0.5"), "more than one comparison"),
        (claim(f"{A} > {B} in 400 % of the seeds"), "at most 100 %, got 400%"),
        (claim(f"a > {B}"), "a metric is named arm.node.metric, got 'a'"),
        (claim("0.5 > 0.4"), "names no metric"),
        (claim(f"{A} * {B} > 0.4"), "a term is a number, a metric"),
        (claim(f"{A} > __import__('os').system('true')"), "cannot read"),
        (claim(f"{A} >"), "compares nothing|ends too early"),
        (claim(f"{A} ~ {B} + 0.1 ± 0.2"), "no constant beside it"),
        ({"test": {"greater": [A, B]}, "says": "so"}, "a test is a sentence"),
        ({"test": f"{A} > {B}"}, "a claim reads"),
        ({**claim(f"{A} > {B}"), "sayz": 1}, "a claim has no 'sayz' \\(did you mean 'says'"),
        ({**claim(f"{A} > {B}"), "confidence": 95}, "between 0 and 1, got 95"),
        ({**claim(f"{A} > {B}"), "reported": 70.1}, "reported is a mapping"),
        (claim(f"at least 170 % of arms: test.accuracy > {B}"), "at most 100 %"),
        (claim(f"rank of {A} among a <= 1"), "one among other arms"),
        ({**claim(f"{A} > {B}"), "kind": "mian"}, "kind is one of main, .*\\(did you mean 'main'"),
    ],
)
def test_claims_that_nothing_could_decide_are_refused(content, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_claims({"mine": content}, ["a", "b"])
    assert caught.value.key.startswith("claims.mine")


def test_a_metric_that_was_not_measured_is_named() -> None:
    with pytest.raises(InputError, match="arm 'a' measures no 'test.acuracy' \\(did you mean 'test.accuracy'\\?\\)"):
        judge("c", claim(f"a.test.acuracy > {B}"), results([1, 2], [1, 2]))


def test_a_name_that_yaml_reads_as_true_is_refused() -> None:
    content = {"c": {**claim(f"{A} > {B}"), "reported": {True: "CIFAR-100"}}}
    with pytest.raises(InputError, match="is no name"):
        check_claims(content, ["a", "b"])


def test_a_metric_that_its_arm_will_not_measure_is_refused_before_the_run() -> None:
    claims = {"c": claim("a.test.accuracy - 0.5 * b.tets.accuracy > b.test.accuracy")}
    known = ["test.accuracy", "test.nll"]
    check_measured(claims, {"a": known, "b": [*known, "tets.*"]})
    with pytest.raises(
        InputError, match="arm 'b' measures no 'tets.accuracy' \\(did you mean 'test.accuracy'\\?\\)"
    ) as caught:
        check_measured(claims, {"a": known, "b": known})
    assert caught.value.key == "claims.c.test"


def test_a_share_of_arms_is_taken_of_a_metric_that_some_arm_will_measure() -> None:
    claims = {"c": claim("at least 50 % of arms: tset.accuracy >= 0.7")}
    check_measured(claims, {"a": ["test.accuracy"], "b": ["tset.accuracy"]})
    with pytest.raises(InputError, match="no arm measures 'tset.accuracy'"):
        check_measured(claims, {"a": ["test.accuracy"], "b": ["test.accuracy"]})


def test_claimed_metrics_come_in_order_and_once() -> None:
    claims = {
        "one": claim("a.seen[x].score.f1 + b.other.f1 > b.seen[x].score.f1"),
        "two": claim("at least 50 % of arms: test.accuracy >= b.test.accuracy"),
        "three": claim("a.cost.queries < 3"),
    }
    assert claimed_metrics(claims) == ["seen[x].score.f1", "other.f1", "test.accuracy", "cost.queries"]


def test_a_failed_arm_leaves_its_claims_undecided_and_counts_against_a_share() -> None:
    found = results([0.9, 0.91, 0.92], [0.5, 0.5, 0.52])
    del found["a"][1]
    verdict = judge("c", claim(f"{A} > {B}"), found)
    assert (verdict.outcome, verdict.note) == ("undecided", "a failed in 1 of 3 seeds")
    share = judge("c", claim(f"at least 50 % of arms: test.accuracy >= {B}"), found)
    assert share.distances == (0.5, -0.5, 0.5)
    assert judge("c", claim(f"{B} > 0.1"), found).outcome == "reproduced"
