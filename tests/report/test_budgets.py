"""Budgets side by side: what an arm has more or less of than the method."""

from __future__ import annotations

from dataclasses import replace

from kdrun.engine.budgets import Budget
from kdrun.report.budgets import budget_table, mean_budget, unequal

METHOD = Budget(rows=100, steps=20, epochs=10.0, flops=2.5e12, parameters=12_345, asked=1000)
CLAIMS = {"a": {"test": "new.x > 0"}, "b": {"test": "kd.test.accuracy > old.test.accuracy", "kind": "main"}}


def test_what_differs_is_told_as_a_multiple_of_the_method() -> None:
    twice = replace(METHOD, rows=200, flops=2.6e12, asked=0)
    assert unequal(twice, METHOD) == "rows 2.0×, teacher rows 0×"
    assert unequal(METHOD, METHOD) == ""
    assert unequal(replace(METHOD, steps=23), METHOD) == "steps 1.15×"
    assert unequal(METHOD, replace(METHOD, asked=0)) == "teacher rows 1000"
    assert unequal(replace(METHOD, rows=None), METHOD) == "", "nothing is said of what is not known"


def test_arms_are_compared_with_that_of_the_main_claim() -> None:
    budgets = {"old": replace(METHOD, parameters=24_690), "kd": METHOD}
    header, rows = budget_table(budgets, CLAIMS) or ([], [])
    assert header[-1] == "other than kd"
    assert rows[0][-1] == "parameters 2.0×"
    assert rows[1] == ["kd", "100", "20", "10", "2.5T", "12.3k", "1000", ""]
    assert budget_table(budgets, {}, "kd") == (header, rows)
    assert budget_table({}, CLAIMS) is None


def test_the_mean_over_seeds_is_not_known_where_one_is_not() -> None:
    found = mean_budget([METHOD, replace(METHOD, steps=30, rows=None)])
    assert found is not None
    assert (found.steps, found.rows, found.asked) == (25, None, 1000)
    assert mean_budget([]) is None
