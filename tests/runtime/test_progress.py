"""Progress in lines: rates from where a stage began now, seconds a step where it is slow, and the time left."""

from __future__ import annotations

import pytest

from kdrun.runtime import progress
from kdrun.runtime.progress import PlainReporter, duration


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("done", "seconds", "told"),
    [
        (500, 20.0, "fit: 500/1000, 25/s, 20 s left\n"),
        (30, 20.0, "fit: 30/1000, 1.5/s, 11 min left\n"),
        (5, 20.0, "fit: 5/1000, 4.0 s/step, 1 h 6 min left\n"),
        (1, 300.0, "fit: 1/1000, 5 min/step, 83 h 15 min left\n"),
        (0, 20.0, "fit: 0/1000\n"),
    ],
)
def test_rates_are_told_as_people_say_them(clock, capsys, done, seconds, told) -> None:
    reporter = PlainReporter()
    reporter.stage_started("fit", 1000)
    clock[0] += seconds
    reporter.advanced("fit", done)
    assert capsys.readouterr().err == told


def test_steps_before_an_interruption_do_not_count_in_the_rate(clock, capsys) -> None:
    reporter = PlainReporter()
    reporter.stage_started("fit", 1000, done=600)
    clock[0] += 20.0
    reporter.advanced("fit", 800, loss=0.5)
    assert capsys.readouterr().err == "fit: 800/1000, 10/s, 20 s left, loss 0.5000\n"


def test_durations_are_round() -> None:
    assert [duration(s) for s in (1.44, 25.2, 180, 7500)] == ["1.4 s", "25 s", "3 min", "2 h 5 min"]
