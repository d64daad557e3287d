"""Plots of the page: the same bytes for the same numbers, in a program that draws in a style of its own."""

from __future__ import annotations

import math

import matplotlib as mpl
import pytest

from kdrun.report.figures import MOST_EPOCHS, curves_plot, curves_plots, metric_plot

VALUES = {"kd": [0.5, 0.6, 0.7], "scratch": [0.4, 0.5, 0.5]}


def test_a_plot_neither_takes_the_programs_style_nor_changes_it() -> None:
    expected = metric_plot("test.accuracy", VALUES)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        before, backend = dict(mpl.rcParams), mpl.get_backend()
        assert metric_plot("test.accuracy", VALUES) == expected
        assert dict(mpl.rcParams) == before
        assert mpl.get_backend() == backend
    assert metric_plot("test.accuracy", {**VALUES, "kd": [0.5, 0.6, 0.8]}) != expected


def test_a_curve_of_one_epoch_is_a_dot() -> None:
    def drawn(epochs: int) -> str:
        return curves_plot(
            "fit", {"kd": {0: [{"stage": "fit", "epoch": 1 + i, "step": i, "loss": 1.0} for i in range(epochs)]}}
        )

    marked = 'style="fill: #3b6fb6; stroke: #3b6fb6"/>'
    assert marked in drawn(1)
    assert marked not in drawn(2)


@pytest.mark.parametrize("name", ["$\\frac{$", "$x", "a$b$c", "_hidden", "\\alpha", "{", "a\nb", "%", "^_^"])
def test_names_are_no_mathematics(name) -> None:
    drawing = metric_plot(name, {name: [0.1, 0.2], "other": [0.3]})
    assert drawing.startswith("<svg")
    rows = [{"stage": "fit", "epoch": 1, "step": 1, name: 0.5}]
    assert curves_plot("fit", {name: {0: rows}}).startswith("<svg")


def numbers(drawing: str) -> list[float]:
    import re

    return [float(n) for path in re.findall(r' d="([^"]*)"', drawing) for n in re.findall(r"-?[\d.]+", path)]


def test_a_long_curve_is_drawn_by_fewer_epochs_from_its_first_to_its_last() -> None:
    def drawn(epochs: int) -> str:
        rows = [{"stage": "fit", "epoch": e, "step": e, "loss": math.sin(e / 7)} for e in range(1, epochs + 1)]
        return curves_plot("fit", {"kd": {0: rows}})

    assert len(drawn(5000)) < 2 * len(drawn(MOST_EPOCHS))
    assert len(drawn(5000)) < len(drawn(20)) + 20 * MOST_EPOCHS
    short, long = numbers(drawn(20)), numbers(drawn(5000))
    assert (min(short), max(short)) == pytest.approx((min(long), max(long)), abs=3.0)  # both fill the panel


def test_scales_are_drawn_alike_one_by_one_and_together() -> None:
    rows = {
        s: [{"stage": "fit", "epoch": e, "step": e, "loss": 1 / (e + s), "gap": e - 2.0} for e in (1, 2, 3)]
        for s in (0, 1)
    }
    linear, log = curves_plots("fit", {"kd": rows})
    assert linear == curves_plot("fit", {"kd": rows})
    assert log == curves_plots("fit", {"kd": rows}, scales=["log"])[0] != linear


def test_the_front_has_what_nothing_cheaper_beats() -> None:
    from kdrun.report.exhibit_figures import pareto_front

    points = {"dear": (3.0, 0.9), "cheap": (1.0, 0.5), "worse": (2.0, 0.4), "same": (2.5, 0.5), "best": (2.0, 0.8)}
    assert pareto_front(points) == ["cheap", "best", "dear"]
    assert pareto_front({n: (x, -y) for n, (x, y) in points.items()}, lowest=True) == ["cheap", "best", "dear"]
