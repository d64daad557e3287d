"""Plots as inline SVG, the same bytes for the same numbers."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.claims import Verdict, mean_interval

__all__ = ["claims_plot", "curves_plot", "metric_plot"]

Curves = Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]]
COLORS = ("#3b6fb6", "#d1702d", "#4f9a5b", "#b04a5a", "#7b5ea7", "#8c6d46", "#3f9aa8", "#888888")


def _figure(width: float, height: float) -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "kdrun",
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def metric_plot(metric: str, values: Mapping[str, Sequence[float]]) -> str:
    """Every seed's value as a dot, the mean and its 95 % interval, one row an arm."""
    figure = _figure(6.4, 0.55 + 0.36 * len(values))
    axes = figure.subplots()
    for i, numbers in enumerate(values.values()):
        color = COLORS[i % len(COLORS)]
        found = mean_interval(list(numbers))
        axes.plot(numbers, [i] * len(numbers), "o", ms=4, alpha=0.4, color=color, mew=0)
        half = 0.0 if math.isnan(found.half_width) else found.half_width
        axes.errorbar([found.mean], [i], xerr=[half], fmt="D", ms=5, color=color, capsize=3, lw=1.4)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlabel(metric)
    axes.grid(axis="x", alpha=0.25)
    return _svg(figure)


def claims_plot(verdicts: Sequence[Verdict]) -> str:
    """The difference behind each claim with its interval, less the threshold: right of 0 is as claimed for >."""
    figure = _figure(6.4, 0.6 + 0.4 * len(verdicts))
    axes = figure.subplots()
    shades = {"reproduced": "#3f8f4f", "contradicted": "#b8433f", "undecided": "#8a8f98"}
    for i, v in enumerate(verdicts):
        half = 0.0 if math.isnan(v.interval.half_width) else v.interval.half_width
        axes.plot(
            [d - v.threshold for d in v.differences],
            [i] * len(v.differences),
            "o",
            ms=3.5,
            alpha=0.35,
            color=shades[v.outcome],
            mew=0,
        )
        axes.errorbar(
            [v.interval.mean - v.threshold], [i], xerr=[half], fmt="D", ms=5, color=shades[v.outcome], capsize=3, lw=1.4
        )
    axes.axvline(0.0, color="#444", lw=0.9, ls="--")
    axes.set_yticks(range(len(verdicts)), [v.name for v in verdicts])
    axes.set_ylim(len(verdicts) - 0.5, -0.5)
    axes.set_xlabel("paired difference minus threshold (95 % interval)")
    axes.grid(axis="x", alpha=0.25)
    return _svg(figure)


def curves_plot(stage: str, curves: Curves) -> str:
    """Loss terms of one stage over epochs: mean over seeds, and the range as a band, one panel a term."""
    terms = sorted(
        {k for runs in curves.values() for rows in runs.values() for r in rows if r["stage"] == stage for k in r}
        - {"stage", "epoch", "step"}
    )
    legend_rows = math.ceil(len(curves) / 5)
    figure = _figure(max(min(3.4 * len(terms), 10.2), 5.0), 2.6 * math.ceil(len(terms) / 3) + 0.22 * legend_rows)
    panels = figure.subplots(math.ceil(len(terms) / 3), min(len(terms), 3), squeeze=False).flatten()
    for axes, term in zip(panels, terms, strict=False):
        for i, (arm, runs) in enumerate(curves.items()):
            series = [
                [(r["epoch"], r[term]) for r in rows if r["stage"] == stage and r.get(term) is not None]
                for rows in runs.values()
            ]
            series = [s for s in series if s]
            if not series:
                continue
            epochs = [e for e, _ in series[0]]
            columns = [[v for _, v in s] for s in series if len(s) == len(epochs)]
            means = [sum(c) / len(c) for c in zip(*columns, strict=True)]
            axes.plot(epochs, means, color=COLORS[i % len(COLORS)], lw=1.5, label=arm)
            axes.fill_between(
                epochs,
                [min(c) for c in zip(*columns, strict=True)],
                [max(c) for c in zip(*columns, strict=True)],
                color=COLORS[i % len(COLORS)],
                alpha=0.15,
                lw=0,
            )
        axes.set_title(term, fontsize=9)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.2)
    shown = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    for axes in panels[len(terms) :]:
        axes.set_visible(False)
    return _svg(figure)
