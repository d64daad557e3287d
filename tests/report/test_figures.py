"""Plots of the page: the same bytes for the same numbers, in a program that draws in a style of its own."""

from __future__ import annotations

import matplotlib as mpl
import pytest

from kdrun.report.figures import curves_plot, metric_plot

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
