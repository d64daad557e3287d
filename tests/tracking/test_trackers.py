"""Trackers receive figures and cannot break a run."""

from __future__ import annotations

import json

import pytest

from kdrun.tracking import Fanout, start_trackers


def test_local_records_are_json_lines(tmp_path) -> None:
    tracker = start_trackers({"tracker": {"tracker": "local"}}, tmp_path)
    tracker.log({"loss": 0.5}, 10, "fit")
    tracker.log({"loss": 0.25}, 20, "fit")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[1] == {"stage": "fit", "step": 20, "loss": 0.25}


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(tmp_path) -> None:
    class Broken:
        calls = 0

        def log(self, values, step, stage):
            self.calls += 1
            raise OSError("network is gone")

    broken = Broken()
    (good,) = start_trackers({"tracker": {"tracker": "local"}}, tmp_path).trackers
    both = Fanout([broken, good])
    with pytest.warns(UserWarning, match="Broken failed and is left out: network is gone"):
        both.log({"a": 1.0}, 1, "s")
    both.log({"a": 2.0}, 2, "s")
    assert broken.calls == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_tensorboard_writes_events(tmp_path) -> None:
    pytest.importorskip("tensorboard")
    tracker = start_trackers({"tracker": {"tracker": "tensorboard"}}, tmp_path)
    tracker.log({"loss": 0.5}, 1, "fit")
    tracker.finish({"test.accuracy": 0.9})
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.slow
def test_wandb_is_offline_without_a_key(tmp_path, monkeypatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    tracker = start_trackers({"tracker": {"tracker": "wandb"}}, tmp_path)
    assert len(tracker.trackers) == 2
    tracker.log({"loss": 0.5}, 1, "fit")
    tracker.finish({"test.accuracy": 0.9})
    assert list((tmp_path / "wandb").glob("offline-run-*"))
