"""Results that the documents show: written from a reproduction's records, a file a recipe, and read back."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scripts():
    spec = importlib.util.spec_from_file_location("recorded_results", ROOT / "scripts" / "recorded_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_reproduction_is_read_back_as_it_was_recorded(scripts, tmp_path, monkeypatch) -> None:
    interval = {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 2}
    verdict = {"name": "beats", "says": "it helps", "outcome": "reproduced", "test": "a.test.f1 > b.test.f1"}
    board = [["rank", "arm", "test.f1"], [["1", "a", "0.9 ± 0.1"], ["2", "b", "0.8 ± 0.1"]]]
    full = {
        "recipe": "family/paper",
        "results": {"a": {"0": {"test.f1": 0.9}, "1": {"test.f1": 0.9}}, "b": {"0": {"test.f1": 0.8}}},
        "verdicts": [{**verdict, "interval": interval, "threshold": 0.0, "differences": [0.1, 0.1]}],
        "leaderboard": board,
    }
    folder = tmp_path / "runs" / "family-paper" / "reproduce-small"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(full))
    monkeypatch.setattr(scripts, "FOLDER", tmp_path / "results")
    scripts.record(tmp_path / "runs")
    shown = {**verdict, "mean": 0.1, "low": 0.05, "high": 0.15}
    assert scripts.recorded() == {"family/paper": {"seeds": 2, "leaderboard": board, "verdicts": [shown]}}
    full |= {"leaderboard": None, "verdicts": []}
    (folder / "results.json").write_text(json.dumps(full))
    scripts.record(tmp_path / "runs")
    assert scripts.recorded()["family/paper"]["verdicts"] == []


def test_every_recorded_result_is_that_of_a_recipe(scripts) -> None:
    recorded = scripts.recorded()
    assert recorded
    for recipe, found in recorded.items():
        assert (ROOT / "recipes" / f"{recipe}.yaml").is_file(), f"results/{recipe}.json has no recipe"
        assert all(verdict["low"] <= verdict["mean"] <= verdict["high"] for verdict in found["verdicts"])
