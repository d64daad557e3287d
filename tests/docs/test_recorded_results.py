"""Results that the documents show: written from a reproduction's records, a file a recipe, and read back."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from kdrun.report.recorded import judged

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scripts():
    spec = importlib.util.spec_from_file_location("recorded_results", ROOT / "scripts" / "recorded_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_reproduction_is_read_back_as_it_was_recorded(scripts, tmp_path, monkeypatch) -> None:
    verdict = {
        "name": "beats", "says": "it helps", "outcome": "reproduced", "test": "a.test.f1 > b.test.f1", "kind": "main",
        "held": 2, "means": {"a.test.f1": 0.9, "b.test.f1": 0.8}, "p": 0.01, "adjusted_p": 0.02, "seeds_needed": None, "note": "",
    }  # fmt: skip
    board = [["rank", "arm", "test.f1"], [["1", "a", "0.9 ± 0.1"], ["2", "b", "0.8 ± 0.1"]]]
    full = {
        "recipe": "family/paper",
        "results": {"a": {"0": {"test.f1": 0.9}, "1": {"test.f1": 0.9}}, "b": {"0": {"test.f1": 0.8}}},
        "verdicts": [
            {**verdict, "distance": {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 2}, "distances": [0.1, 0.1]}
        ],
        "leaderboard": board,
        "arms": board,
        "unclaimed": ["! no claim reads b"],
    }
    folder = tmp_path / "runs" / "family-paper" / "reproduce-small"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(full))
    monkeypatch.setattr(scripts, "FOLDER", tmp_path / "results")
    scripts.record(tmp_path / "runs")
    shown = {**verdict, "distance": 0.1, "low": 0.05, "high": 0.15, "seeds": 2}
    assert scripts.recorded() == {
        "family/paper": {
            "seeds": 2,
            "leaderboard": board,
            "arms": board,
            "unclaimed": ["! no claim reads b"],
            "verdicts": [shown],
        }
    }
    full |= {"leaderboard": None, "verdicts": []}
    (folder / "results.json").write_text(json.dumps(full))
    scripts.record(tmp_path / "runs")
    assert scripts.recorded()["family/paper"]["verdicts"] == []


def test_every_recorded_result_is_that_of_a_recipe(scripts) -> None:
    recorded = scripts.recorded()
    assert recorded
    for recipe, found in recorded.items():
        assert (ROOT / "recipes" / f"{recipe}.yaml").is_file(), f"results/{recipe}.json has no recipe"
        assert all(verdict["low"] <= verdict["distance"] <= verdict["high"] for verdict in found["verdicts"])


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("a.x > b.x + 0.02", (0.03, 0.01, 0.05)),
        ("a.x < b.x + 0.02", (-0.03, -0.05, -0.01)),
        ("a.x ~ b.x ± 0.1", (0.05, 0.03, 0.07)),
        ("at least 3 % of arms: x < 5", (0.02, 0.0, 0.04)),
    ],
)
def test_results_of_before_distances_were_oriented_are_read(scripts, test, expected) -> None:
    old = {"name": "c", "says": "so", "outcome": "undecided", "test": test, "mean": 0.05, "low": 0.03, "high": 0.07}
    found = scripts.oriented(old)
    assert [found[word] for word in ("distance", "low", "high")] == pytest.approx(expected)


def test_what_a_single_seed_contradicted_is_undecided(scripts) -> None:
    old = {"name": "c", "says": "so", "outcome": "contradicted", "test": "a.x > b.x in every seed"}
    assert scripts.oriented({**old, "mean": 0.05, "low": -0.03, "high": 0.13})["outcome"] == "undecided"
    assert scripts.oriented({**old, "mean": -0.05, "low": -0.13, "high": -0.03})["outcome"] == "contradicted"


def test_a_verdict_stands_only_under_the_sentence_that_it_was_found_for() -> None:
    found = [
        {"name": "wins", "outcome": "reproduced", "test": "a.x > b.x + -0.01", "says": "old words", "distance": 1.0}
    ]
    same = {"wins": {"test": "a.x >= b.x - 0.01", "says": "new words", "kind": "main"}}
    (row,) = judged(same, found)
    assert (row["outcome"], row["says"], row["kind"], row["distance"]) == ("reproduced", "new words", "main", 1.0)
    for test in ("a.x > b.x - 0.02", "a.x < b.x - 0.01", "a.x > c.x - 0.01", "a.x > b.x - 0.01 in every seed"):
        (row,) = judged({"wins": {"test": test, "says": "so"}}, found)
        assert row["outcome"] == "not judged"
