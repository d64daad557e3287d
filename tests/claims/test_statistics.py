"""Intervals, sample sizes and corrections against SciPy, published tables and by hand."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from kdrun.claims.statistics import holm, ratio_interval, seeds_needed, tail

ABOVE, BELOW = [2.1, 2.4, 1.9, 2.2, 2.6], [4.0, 4.3, 4.1, 3.9, 4.6]


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_ends_of_fiellers_interval_are_the_ratios_that_a_t_test_just_rejects(confidence) -> None:
    found = ratio_interval(ABOVE, BELOW, confidence)
    assert found.mean == pytest.approx(sum(ABOVE) / sum(BELOW))
    assert found.low < found.mean < found.high
    for end in (found.low, found.high):
        rest = [a - end * b for a, b in zip(ABOVE, BELOW, strict=True)]
        assert stats.ttest_1samp(rest, 0.0).pvalue == pytest.approx(1 - confidence)


def test_a_ratio_to_a_constant_is_a_mean() -> None:
    expected = stats.ttest_1samp([a / 2 for a in ABOVE], 0.0).confidence_interval(0.95)
    found = ratio_interval(ABOVE, [2.0] * 5)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_ratio_to_what_may_be_nothing_has_no_interval() -> None:
    assert math.isnan(ratio_interval(ABOVE, [0.5, -0.4, 0.3, -0.6, 0.4]).low)


@pytest.mark.parametrize(
    ("effect", "level", "expected"),
    [(0.2, 0.05, 199), (0.5, 0.05, 34), (0.8, 0.05, 15), (0.5, 0.01, 51), (0.559, 0.025, 33)],
)
def test_seeds_needed_are_those_of_cohens_tables_for_paired_tests(effect, level, expected) -> None:
    assert seeds_needed(effect, level) == seeds_needed(-effect, level) == expected


def test_no_effect_is_never_found() -> None:
    assert seeds_needed(0.0, 0.05) is None
    assert seeds_needed(0.001, 0.05) is None
    assert seeds_needed(math.nan, 0.05) is None


def test_tails_are_those_of_the_t_test() -> None:
    values = [0.1, -0.2, 0.4, 0.3]
    assert tail(values) == pytest.approx(stats.ttest_1samp(values, 0.0, alternative="greater").pvalue)
    assert (tail([0.1, 0.1]), tail([-0.1, -0.1]), tail([0.0, 0.0])) == (0.0, 1.0, 0.5)
    assert math.isnan(tail([0.1]))


def test_holms_correction_by_hand() -> None:
    found = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": math.nan})
    assert found == pytest.approx({"a": 0.09, "b": 0.04, "c": 0.09, "d": 1.0})
