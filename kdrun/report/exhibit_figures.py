"""Plots of what runs show, as inline SVG: points of a plane, scenes, and scores over costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.claims import mean_interval
from kdrun.report.drawing import COLORS, as_svg, figure_of, own_style, plain

__all__ = ["Points", "pareto_front", "points_plot", "scenes_plot", "trade_plot"]

Points = Mapping[str, tuple[float, Sequence[float]]]
"""By name, a cost and the values of a score over seeds."""


@own_style()
def trade_plot(score: str, costs: Mapping[str, Points], *, lowest: bool = False) -> str:
    """A score over several costs (logarithmic), a panel a cost and a point a name with its 95 % interval.

    A line joins what no other has at a lower cost with a better score; ``lowest``: less of the score is better.
    """
    columns = min(len(costs), 2)
    rows = math.ceil(len(costs) / columns)
    figure = figure_of(6.4 if columns == 1 else 9.6, 3.4 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    names = list(dict.fromkeys(name for points in costs.values() for name in points))
    for axes, (cost, points) in zip(panels, costs.items(), strict=False):
        means = {}
        for name, (x, values) in points.items():
            found = mean_interval(list(values))
            half = 0.0 if math.isnan(found.half_width) else found.half_width
            color = COLORS[names.index(name) % len(COLORS)]
            axes.errorbar([x], [found.mean], yerr=[half], fmt="o", ms=6, color=color, capsize=3)
            axes.annotate(plain(name), (x, found.mean), xytext=(6, 4), textcoords="offset points", fontsize=8)
            means[name] = (x, found.mean)
        front = pareto_front(means, lowest=lowest)
        places = [means[name] for name in front]
        axes.plot([x for x, _ in places], [y for _, y in places], color="#888888", lw=1, ls=":", zorder=0)
        axes.set_xscale("log")
        axes.margins(x=0.25, y=0.15)
        axes.set_xlabel(plain(cost))
        axes.grid(alpha=0.25)
    for axes in panels[::columns]:
        axes.set_ylabel(plain(score))
    for axes in panels[len(costs) :]:
        axes.set_visible(False)
    return as_svg(figure)


def pareto_front(points: Mapping[str, tuple[float, float]], *, lowest: bool = False) -> list[str]:
    """Those whose score no other reaches at the same or a lower cost, cheapest first; of (cost, score), ``lowest``: less is better."""
    sign = 1 if lowest else -1
    found: list[str] = []
    best = math.inf
    for name, (_, score) in sorted(points.items(), key=lambda item: (item[1][0], sign * item[1][1])):
        if sign * score < best:
            found.append(name)
            best = sign * score
    return found


@own_style()
def points_plot(
    points: Sequence[tuple[float, float]], classes: Sequence[int], names: Sequence[str], labels: Sequence[str]
) -> str:
    """Points of a plane in the colour of their class, whose name stands in the middle of its points. ``labels``: of both axes."""
    figure = figure_of(6.4, 4.6)
    axes = figure.subplots()
    for one in sorted(set(classes)):
        own = [point for point, label in zip(points, classes, strict=True) if label == one]
        xs, ys = [x for x, _ in own], [y for _, y in own]
        axes.plot(xs, ys, "o", ms=3, alpha=0.5, color=COLORS[one % len(COLORS)], mew=0)
        if len(names) > 1:
            middle = sum(xs) / len(xs), sum(ys) / len(ys)
            axes.annotate(plain(names[one]), middle, fontsize=11, fontweight="bold", ha="center", va="center")
    for name, set_label in zip(labels, (axes.set_xlabel, axes.set_ylabel), strict=False):
        set_label(plain(name))
    axes.grid(alpha=0.2)
    return as_svg(figure)


@own_style()
def scenes_plot(scenes: Sequence[Mapping[str, Any]]) -> str:
    """Plans of scenes, up to three in a row: measurements as dots (later ones darker), targets as rings, estimates as crosses."""
    columns = min(3, max(len(scenes), 1))
    rows = math.ceil(len(scenes) / columns) or 1
    figure = figure_of(3.2 * columns, 3.1 * rows + 0.3)
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
    return as_svg(figure)
