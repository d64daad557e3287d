"""What the kinds of claims do to each other, how many seeds would decide, and how ratios and equalities are weighed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kdrun.claims import judge, judge_all

SURE, DOUBTFUL, AGAINST = [0.30, 0.31, 0.32, 0.31], [0.05, 0.20, 0.01, 0.12], [-0.30, -0.31, -0.32, -0.31]


def judged(**claims: tuple[str, list[float]]) -> dict:
    """A verdict a claim that its own arm's values are above 0, by name; the kind stands before the values."""
    results = {name: {seed: {"x": v} for seed, v in enumerate(values)} for name, (_, values) in claims.items()}
    content = {name: {"test": f"{name}.x > 0.0", "says": "so", "kind": kind} for name, (kind, _) in claims.items()}
    return {verdict.name: verdict for verdict in judge_all(content, results)}


def test_a_claim_is_secondary_unless_it_says_its_kind() -> None:
    assert judge("c", {"test": "a.x > 0", "says": "so"}, {"a": {0: {"x": 1.0}, 1: {"x": 2.0}}}).kind == "secondary"


def test_main_and_secondary_claims_are_corrected_together_and_others_are_not() -> None:
    values = [0.12, 0.30, 0.20, 0.07]
    p = stats.ttest_1samp(values, 0.0).pvalue
    assert 0.025 < p < 0.05
    alone = judged(one=("main", values), rule=("check", values), never=("control", values))
    assert {v.outcome for v in alone.values()} == {"reproduced"}
    two = judged(one=("main", values), two=("secondary", values), rule=("check", values))
    assert [two[name].outcome for name in ("one", "two", "rule")] == ["undecided", "undecided", "reproduced"]
    assert two["one"].adjusted_p == pytest.approx(2 * p)
    assert two["one"].note == "not after correction for several claims and looks"


def test_nothing_is_testable_where_a_precondition_is_contradicted_but_checks() -> None:
    found = judged(one=("main", SURE), same=("control", SURE), rule=("check", SURE), given=("precondition", AGAINST))
    outcomes = {name: verdict.outcome for name, verdict in found.items()}
    assert outcomes == {
        "one": "not testable here", "same": "not testable here", "rule": "reproduced", "given": "contradicted",
    }  # fmt: skip
    assert found["one"].note == "precondition given is contradicted"


def test_a_precondition_in_doubt_leaves_the_others_so() -> None:
    assert judged(one=("main", SURE), given=("precondition", DOUBTFUL))["one"].outcome == "undecided"
    assert judged(one=("main", SURE), given=("precondition", SURE))["one"].outcome == "reproduced"


def test_as_many_seeds_as_are_said_to_be_needed_decide_four_times_in_five() -> None:
    found = judged(one=("main", DOUBTFUL))["one"]
    assert found.outcome == "undecided"
    mean, deviation = np.mean(DOUBTFUL), np.std(DOUBTFUL, ddof=1)
    draws = np.random.default_rng(0).normal(mean, deviation, size=(4000, found.seeds_needed))
    assert np.mean(stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.06)


def test_seeds_count_by_themselves_and_means_stand_beside() -> None:
    results = {"a": {0: {"x": 0.5}, 1: {"x": 0.7}, 2: {"x": 0.3}}, "b": {0: {"x": 0.4}, 1: {"x": 0.5}, 2: {"x": 0.6}}}
    found = judge("c", {"test": "a.x > b.x in every seed", "says": "so"}, results)
    assert (found.held, found.distance.n, found.outcome) == (2, 3, "undecided")
    assert found.means == pytest.approx({"a.x": 0.5, "b.x": 0.5})


def test_a_ratio_is_shown_as_one_and_a_multiple_is_the_same_test() -> None:
    values = {"a": [2.1, 2.4, 1.9, 2.2], "b": [4.0, 4.3, 4.1, 3.9]}
    results = {arm: {seed: {"x": v} for seed, v in enumerate(numbers)} for arm, numbers in values.items()}
    multiple, ratio = (
        judge("c", {"test": test, "says": "so"}, results) for test in ("a.x < 0.6 * b.x", "a.x / b.x < 0.6")
    )
    assert multiple.distance.mean == ratio.distance.mean == pytest.approx(0.6 - 8.6 / 16.3)
    assert (multiple.distance, multiple.p) == (ratio.distance, ratio.p)
    rest = [0.6 * b - a for a, b in zip(*values.values(), strict=True)]
    assert ratio.p == pytest.approx(stats.ttest_1samp(rest, 0.0).pvalue)
    assert (ratio.p < 0.05) == (ratio.distance.low > 0)


def test_a_multiple_of_what_may_be_nothing_is_judged_by_the_difference() -> None:
    results = {
        "a": {i: {"x": v} for i, v in enumerate([5.0, 5.1, 4.9])},
        "b": {i: {"x": v} for i, v in enumerate([0.1, -0.1, 0.2])},
    }
    assert judge("c", {"test": "a.x > 3 * b.x", "says": "so"}, results).outcome == "reproduced"
    assert judge("c", {"test": "a.x / b.x > 3", "says": "so"}, results).note == "b.x may be 0"


@pytest.mark.parametrize(
    ("centre", "outcome"), [(0.0, "equal"), (0.03, "contradicted"), (-0.03, "contradicted"), (0.01, "undecided")]
)
def test_an_equality_holds_where_both_one_sided_tests_reject(centre, outcome) -> None:
    values = [centre + d for d in (0.001, -0.002, 0.002, -0.001)]
    results = {"a": {i: {"x": 1 + v} for i, v in enumerate(values)}, "b": {i: {"x": 1.0} for i in range(4)}}
    found = judge("c", {"test": "a.x ~ b.x ± 0.01", "says": "so"}, results)
    assert found.outcome == outcome
    if outcome == "equal":
        above = stats.ttest_1samp(values, -0.01, alternative="greater").pvalue
        below = stats.ttest_1samp(values, 0.01, alternative="less").pvalue
        assert found.p == pytest.approx(2 * max(above, below))
        assert found.distance.low > 0
