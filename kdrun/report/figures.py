"""Plots as inline SVG, the same bytes for the same numbers."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from kdrun.claims import Verdict, mean_interval
from kdrun.errors import printable

__all__ = ["claims_plot", "curves_plot", "curves_plots", "metric_plot", "points_plot", "scenes_plot", "trade_plot"]

Curves = Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]]
COLORS = ("#3b6fb6", "#d1702d", "#4f9a5b", "#b04a5a", "#7b5ea7", "#8c6d46", "#3f9aa8", "#888888")
SHADES = {
    "reproduced": "#3f8f4f",
    "contradicted": "#b8433f",
    "equal": "#3b6fb6",
    "undecided": "#8a8f98",
    "not testable here": "#b9bdc4",
}

STYLE = {
    "svg.hashsalt": "kdrun",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


LINES, DIGITS = re.compile(r' d="[^"]*"'), re.compile(r"(\.\d\d)\d+")
"""The lines of a drawing, and digits of theirs that nobody sees."""


@contextlib.contextmanager
def _own_style() -> Iterator[None]:
    """Draw in one style, whatever the program around sets, and leave it its own."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _row_axes(names: Sequence[str], height: float) -> tuple[Any, Any]:
    """A figure with a row a name, at a fixed place that leaves them room: to measure labels takes as long as to draw them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height))
    left = min(0.075 * max(map(len, names), default=0) + 0.25, 3.2) / 6.4
    axes = figure.add_axes((left, 0.42 / height, 0.97 - left, 1 - 0.48 / height))
    axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)
    return figure, axes


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return LINES.sub(lambda found: DIGITS.sub(r"\1", found[0]), text[text.index("<svg") :])


def _plain(name: str) -> str:
    """A name as it reads: what matplotlib would take for mathematics, or for a line that is left out of the legend, is none."""
    shown = printable(name, line=True).replace("$", r"\$")
    return f"\u200a{shown}" if shown.startswith("_") else shown


@_own_style()
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
    axes.set_xlabel(_plain(metric))
    return _svg(figure)


@_own_style()
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
    return _svg(figure)


MOST_EPOCHS, MOST_POINTS = 150, 4000
"""How many epochs of a curve, and points of all curves of a stage, are drawn, evenly spaced: more are finer than a screen shows, and weigh."""


def curves_plot(stage: str, curves: Curves) -> str:
    """Loss terms of one stage, and its validation, over epochs, on linear axes; see ``curves_plots``."""
    return curves_plots(stage, curves, scales=("linear",))[0]


@_own_style()
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
                shown.setdefault(_plain(arm), line)
        axes.set_title(_plain(term), fontsize=9)
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
    return _svg(figure)


@_own_style()
def trade_plot(metric: str, cost: str, points: Mapping[str, tuple[float, Sequence[float]]]) -> str:
    """A metric over a cost (logarithmic), a point an arm with its 95 % interval. ``points``: arm → cost, values over seeds."""
    figure = _figure(6.4, 3.6)
    axes = figure.subplots()
    for i, (arm, (x, values)) in enumerate(points.items()):
        found = mean_interval(list(values))
        half = 0.0 if math.isnan(found.half_width) else found.half_width
        axes.errorbar([x], [found.mean], yerr=[half], fmt="o", ms=6, color=COLORS[i % len(COLORS)], capsize=3)
        axes.annotate(_plain(arm), (x, found.mean), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel(_plain(cost))
    axes.set_ylabel(_plain(metric))
    axes.grid(alpha=0.25)
    return _svg(figure)


@_own_style()
def points_plot(
    points: Sequence[tuple[float, float]], classes: Sequence[int], names: Sequence[str], labels: Sequence[str]
) -> str:
    """Points of a plane in the colour of their class, whose name stands in the middle of its points. ``labels``: of both axes."""
    figure = _figure(6.4, 4.6)
    axes = figure.subplots()
    for one in sorted(set(classes)):
        own = [point for point, label in zip(points, classes, strict=True) if label == one]
        xs, ys = [x for x, _ in own], [y for _, y in own]
        axes.plot(xs, ys, "o", ms=3, alpha=0.5, color=COLORS[one % len(COLORS)], mew=0)
        if len(names) > 1:
            middle = sum(xs) / len(xs), sum(ys) / len(ys)
            axes.annotate(_plain(names[one]), middle, fontsize=11, fontweight="bold", ha="center", va="center")
    for name, set_label in zip(labels, (axes.set_xlabel, axes.set_ylabel), strict=False):
        set_label(_plain(name))
    axes.grid(alpha=0.2)
    return _svg(figure)


@_own_style()
def scenes_plot(scenes: Sequence[Mapping[str, Any]]) -> str:
    """Plans of scenes, up to three in a row: measurements as dots (later ones darker), targets as rings, estimates as crosses."""
    columns = min(3, max(len(scenes), 1))
    rows = math.ceil(len(scenes) / columns) or 1
    figure = _figure(3.2 * columns, 3.1 * rows + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes, scene in zip(panels, scenes, strict=False):
        last = max((t for _, _, t in scene["measurements"]), default=0) or 1
        for time in sorted({t for _, _, t in scene["measurements"]}):
            seen = [(x, y) for x, y, t in scene["measurements"] if t == time]
            axes.plot(*zip(*seen, strict=True), ".", ms=5, color="#777777", alpha=0.25 + 0.6 * time / last, mew=0)
        for name, mark, color in (("targets", "o", COLORS[0]), ("estimates", "x", COLORS[1])):
            places = [(x, y) for x, y, *_ in scene[name]]
            fill = {"mfc": "none"} if mark == "o" else {}
            axes.plot([x for x, _ in places], [y for _, y in places], mark, ms=8, color=color, label=name, **fill)
        axes.set_title(f"scene {scene['row']}", fontsize=9)
        axes.set_aspect("equal")
        axes.grid(alpha=0.2)
    for axes in panels[len(scenes) :]:
        axes.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return _svg(figure)
