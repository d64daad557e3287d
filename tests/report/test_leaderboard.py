"""Leaderboards: equal arms share a rank, and what an arm costs is all of its training."""

from __future__ import annotations

from kdrun.report.leaderboard import leaderboard

RESULTS = {
    "plain": {0: {"test.accuracy": 0.5}},
    "first": {0: {"test.accuracy": 0.75}},
    "again": {0: {"test.accuracy": 0.75}},
    "worst": {0: {"test.accuracy": 0.25}},
}
COSTS = {
    "plain": {"fit": 10.0, "": 100.0},
    "first": {"fit": 10.0, "": 300.0},  # a stage before `fit`
    "again": {"fit": 20.0, "": 200.0},
    "worst": {"fit": 10.0, "": 100.0},
}


def test_arms_of_one_mean_share_a_rank_and_the_next_one_is_counted_on() -> None:
    _, rows = leaderboard({"metric": "test.accuracy", "against": "plain"}, RESULTS, COSTS)
    assert [row[:2] for row in rows] == [["1", "again"], ["1", "first"], ["3", "plain"], ["4", "worst"]]
    content = {"metric": "test.accuracy", "against": "plain", "order": "lowest"}
    assert [row[:2] for row in leaderboard(content, RESULTS, COSTS)[1]] == [
        ["1", "worst"],
        ["2", "plain"],
        ["3", "again"],
        ["3", "first"],
    ]


def test_first_stages_count_in_the_cost_of_training() -> None:
    header, rows = leaderboard({"metric": "test.accuracy", "against": "plain", "cost": "fit"}, RESULTS, COSTS)
    assert header[-2:] == ["cost of an epoch", "cost of training"]
    assert {row[1]: row[-2:] for row in rows} == {
        "plain": ["1.00 ×", "1.00 ×"],
        "first": ["1.00 ×", "3.00 ×"],
        "again": ["2.00 ×", "2.00 ×"],
        "worst": ["1.00 ×", "1.00 ×"],
    }
