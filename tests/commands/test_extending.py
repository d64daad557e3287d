"""More seeds, more arms, more values: what the store holds is not computed again, and tables and pages show all."""

from __future__ import annotations

import json

import pytest

from kdrun.engine.executor import Executor
from support.recipes import NO_TRANSFER, QUICK, write_recipe

BODY = "data: {limit: 128}\nepochs: 1\nseeds: 1\narms: {tame: {}, slow: {optimizer.lr: 0.001}MORE}\npaper: {arxiv: '1503.02531'}\n"


@pytest.fixture
def computed(monkeypatch):
    """The stages that are computed, by seed, since it was called last."""
    compute, seen = Executor._compute, []

    def noted(self, node, key):
        seen.append((self.keys.seed, node.name))
        return compute(self, node, key)

    monkeypatch.setattr(Executor, "_compute", noted)

    def since() -> list[tuple[int, str]]:
        found = sorted(seen)
        seen.clear()
        return found

    return since


def test_a_reproduction_grows_by_seeds_and_arms(kdrun, tmp_path, computed) -> None:
    recipe = write_recipe(tmp_path, BODY.replace("MORE", ""), NO_TRANSFER, name="study")
    words = ("reproduce", recipe, "--jobs", "1")
    page = tmp_path / "runs/study/reproduce-small/report.html"
    records = tmp_path / "runs/study/reproduce-small/results.json"
    assert kdrun(*words).code == 0
    first = json.loads(records.read_text())["results"]
    each = len(computed()) // 2
    answer = kdrun(*words, "seeds=2")
    found = computed()
    assert {seed for seed, _ in found} == {1}
    assert len(found) == 2 * each
    assert "2 of 4 runs to do" in answer.err
    assert [line.split()[:2] for line in answer.out.splitlines()[4:6]] == [["tame", "2"], ["slow", "2"]]
    grown = json.loads(records.read_text())["results"]
    assert {arm: {seed: runs[seed] for seed in ("0",)} for arm, runs in grown.items()} == first
    write_recipe(tmp_path, BODY.replace("MORE", ", still: {optimizer.lr: 1.0e-9}"), NO_TRANSFER, name="study")
    answer = kdrun(*words, "seeds=2")
    assert "2 of 6 runs to do" in answer.err
    assert len(computed()) == 2 * each
    assert [line.split()[:2] for line in answer.out.splitlines()[4:7]] == [["tame", "2"], ["slow", "2"], ["still", "2"]]
    assert all(arm in page.read_text() for arm in ("tame", "slow", "still"))
    fewer = kdrun(*words, "--arms", "still")
    assert (fewer.code, computed()) == (0, [])
    assert kdrun(*words, "seeds=2").out == answer.out
    assert computed() == []


def test_a_multirun_grows_by_seeds_and_values(kdrun, computed) -> None:
    words = ("run", "kd", "-m", "arm=scratch", *QUICK)
    kdrun(*words, "seed=0", "optimizer.lr=0.05")
    each = len(computed())
    answer = kdrun(*words, "seed=0,1", "optimizer.lr=0.05,0.1")
    assert len(computed()) == 3 * each
    rows = [line.split()[:2] for line in answer.out.split("\n\n")[-1].splitlines()[2:]]
    assert rows == [["optimizer.lr=0.05", "2"], ["optimizer.lr=0.1", "2"]]
