"""Plots as inline SVG, the same bytes for the same numbers: metrics by arm, claims, learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kdrun.claims import Verdict, mean_interval
from kdrun.report.drawing import COLORS, as_svg, own_style, plain

__all__ = ["claims_plot", "curves_plot", "curves_plots", "metric_plot"]

Curves = Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]]

SHADES = {
    "reproduced": "#3f8f4f",
    "contradicted": "#b8433f",
    "equal": "#3b6fb6",
    "undecided": "#8a8f98",
    "not testable here": "#b9bdc4",
}


def _row_axes(names: Sequence[str], height: float) -> tuple[Any, Any]:
    """A figure with a row a name, at a fixed place that leaves them room: to measure labels takes as long as to draw them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height))
    left = min(0.075 * max(map(len, names), default=0) + 0.25, 3.2) / 6.4
    axes = figure.add_axes((left, 0.42 / height, 0.97 - left, 1 - 0.48 / height))
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)
    return figure, axes


@own_style()
def metric_plot(metric: str, values: Mapping[str, Sequence[float]]) -> str:
    """Every seed's value as a dot, the mean and its 95 % interval, one row an arm."""
    figure, axes = _row_axes(list(values), 0.55 + 0.36 * len(values))
    colors = [COLORS[i % len(COLORS)] for i in range(len(values))]
    dots = [(v, i, colors[i]) for i, numbers in enumerate(values.values()) for v in numbers]
    axes.scatter(
        [v for v, _, _ in dots], [i for _, i, _ in dots], s=16, alpha=0.4, c=[c for *_, c in dots], linewidths=0
    )
    found = [mean_interval(list(numbers)) for numbers in values.values()]
    halves = [0.0 if math.isnan(f.half_width) else f.half_width for f in found]
    means, rows = [f.mean for f in found], range(len(found))
    axes.hlines(
        rows,
        [m - h for m, h in zip(means, halves, strict=True)],
        [m + h for m, h in zip(means, halves, strict=True)],
        colors,
        lw=1.4,
    )
    axes.scatter(means, rows, s=25, marker="D", c=colors)
    axes.set_xlabel(plain(metric))
    return as_svg(figure)


@own_style()
def claims_plot(verdicts: Sequence[Verdict]) -> str:
    """The distance of each claim beyond its threshold with its interval: right of 0 is as claimed."""
    figure, axes = _row_axes([v.name for v in verdicts], 0.6 + 0.4 * len(verdicts))
    for i, v in enumerate(verdicts):
        half = [[0.0], [0.0]]
        if not math.isnan(v.distance.half_width):
            half = [[v.distance.mean - v.distance.low], [v.distance.high - v.distance.mean]]
        color = SHADES[v.outcome]
        axes.plot(v.distances, [i] * len(v.distances), "o", ms=3.5, alpha=0.35, color=color, mew=0)
        axes.errorbar([v.distance.mean], [i], xerr=half, fmt="D", ms=5, color=color, capsize=3, lw=1.4)
    axes.axvline(0.0, color="#444", lw=0.9, ls="--")
    axes.set_xlabel("distance beyond the threshold, with its interval: above 0 as claimed")
    return as_svg(figure)


MOST_EPOCHS, MOST_POINTS = 150, 4000
"""How many epochs of a curve, and points of all curves of a stage, are drawn, evenly spaced: more are finer than a screen shows, and weigh."""


def curves_plot(stage: str, curves: Curves) -> str:
    """Loss terms of one stage, and its validation, over epochs, on linear axes; see ``curves_plots``."""
    return curves_plots(stage, curves, scales=("linear",))[0]


@own_style()
def curves_plots(
    stage: str, curves: Curves, *, scales: Sequence[Literal["linear", "log"]] = ("linear", "log")
) -> list[str]:
    """Loss terms of one stage, and its validation, over epochs: mean over seeds, and the range as a band, one panel a term.

    One drawing for each of ``scales``; on a logarithmic one, panels stay linear where not all values are above 0. Of long
    curves ``MOST_EPOCHS`` epochs are drawn.
    """
    terms = sorted(
        {k for runs in curves.values() for rows in runs.values() for r in rows if r["stage"] == stage for k in r}
        - {"stage", "epoch", "step"}
    )
    if not terms:
        return [""] * len(scales)
    figure, panels = _panels(len(terms), legend_rows=math.ceil(len(curves) / 5))
    shown: dict[str, Any] = {}
    most = max(min(MOST_EPOCHS, MOST_POINTS // (len(curves) * len(terms))), 25)
    for axes, term in zip(panels, terms, strict=False):
        for i, (arm, runs) in enumerate(curves.items()):
            series = [
                {r["epoch"]: r[term] for r in rows if r["stage"] == stage and r.get(term) is not None}
                for rows in runs.values()
            ]
            line = _draw_band(axes, [s for s in series if s], COLORS[i % len(COLORS)], most)
            if line is not None:
                shown.setdefault(plain(arm), line)
        axes.set_title(plain(term), fontsize=9)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.2)
    figure.legend(shown.values(), shown, loc="lower center", ncols=5, fontsize=8, frameon=False)
    return [_on_scale(figure, panels, scale) for scale in scales]


def _panels(count: int, *, legend_rows: int) -> tuple[Any, list[Any]]:
    """A figure with panels at fixed places, up to three in a row: to measure every label first takes as long as to draw them."""
    from matplotlib.figure import Figure

    rows, columns = math.ceil(count / 3), min(count, 3)
    width, below = max(3.4 * columns, 5.0), 0.22 * legend_rows + 0.5
    height = 2.4 * rows + 0.25 + 0.22 * legend_rows
    figure = Figure(figsize=(width, height))
    share = {"left": 0.6 / width, "right": 1 - 0.15 / width, "bottom": below / height, "top": 1 - 0.25 / height}
    grid = figure.add_gridspec(rows, columns, **share, wspace=0.28, hspace=0.45)
    return figure, [figure.add_subplot(grid[i // columns, i % columns]) for i in range(count)]


def _draw_band(axes: Any, series: Sequence[Mapping[int, float]], color: str, most: int) -> Any:
    """Draw the mean of several series over epochs, ``most`` of them, and their range; the line, or None where there is nothing."""
    import numpy as np

    epochs = sorted({epoch for s in series for epoch in s})  # a seed that ended earlier has fewer
    if not epochs:
        return None
    if len(epochs) > most:
        epochs = [epochs[i] for i in np.linspace(0, len(epochs) - 1, most).round().astype(int)]
    values = [[s[epoch] for s in series if epoch in s] for epoch in epochs]
    at, means = np.array(epochs), np.array([sum(v) / len(v) for v in values])
    if len(series) > 1:
        low, high = (np.array([bound(v) for v in values]) for bound in (min, max))
        axes.fill_between(at, low, high, color=color, alpha=0.15, lw=0)
    return axes.plot(at, means, color=color, lw=1.5, marker="o" if len(epochs) == 1 else "")[0]


def _on_scale(figure: Any, panels: Sequence[Any], scale: str) -> str:
    """The figure as SVG on a scale; labels of a logarithmic axis are plain, which is quicker than set as mathematics."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for axes in panels if scale == "log" else ():
        if axes.dataLim.y0 > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return as_svg(figure)
