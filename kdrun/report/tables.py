"""The table of means and the verdicts as text; no timings, so the same results give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kdrun.claims import Agreement, Rival, Verdict, mean_interval
from kdrun.claims.values import Results
from kdrun.engine.reached import Reached
from kdrun.errors import written_out

__all__ = [
    "agreement_lines",
    "arm_table",
    "best_arm_line",
    "figures",
    "format_interval",
    "headline",
    "html_table",
    "number",
    "objective_line",
    "rival_lines",
    "tally",
    "text_table",
    "verdict_lines",
]

MARKS = {"reproduced": "✓", "contradicted": "✗", "equal": "=", "undecided": "?", "not testable here": "–"}

AGREEMENT = {"agrees": "=", "differs": "≠", "too few seeds": "?"}


def metrics_of(results: Results) -> list[str]:
    """All metric paths, those that every arm has first."""
    arms = [set.union(*[set(v) for v in runs.values()]) if runs else set() for runs in results.values()]
    shared = sorted(set.intersection(*arms)) if arms else []
    rest = sorted(set.union(*arms) - set(shared)) if arms else []
    return shared + rest


def number(value: float, sign: str = "") -> str:
    """Four decimals; as a power of ten where those would show nothing or too much."""
    value = 0.0 if abs(value) < 1e-15 else value
    plain = value == 0 or not math.isfinite(value) or 5e-5 <= abs(value) < 1e5
    return format(value, f"{sign}.4f" if plain else f"{sign}.2e")


def format_interval(values: Sequence[float]) -> str:
    """``mean ± half width`` of the 95 % interval, with four decimals (or as a power of ten)."""
    if not values:
        return ""
    found = mean_interval(values)
    return number(found.mean) + ("" if math.isnan(found.half_width) else f" ± {number(found.half_width)}")


def arm_table(results: Results, metrics: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row an arm, one column a metric, mean and 95 % interval over seeds.

    ``metrics`` are the columns, save those that no arm measured; all if none is left.
    """
    known = metrics_of(results)
    metrics = [m for m in metrics if m in known] or known
    rows = []
    most = max((len(runs) for runs in results.values()), default=0)
    for arm, runs in results.items():
        values = {m: [runs[s][m] for s in sorted(runs) if m in runs[s]] for m in metrics}
        count = str(most) if len(runs) == most else f"{len(runs)} of {most}"
        rows.append([arm, count, *[format_interval(values[m]) for m in metrics]])
    return ["arm", "seeds", *metrics], rows


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest entry; each entry stays in its line."""
    cells = [[written_out(cell, line=True) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def html_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The same as HTML."""

    def line(cells: Sequence[Any], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Two lines a claim: the verdict with what is claimed, and the figures behind it; then how many hold of each kind."""
    lines = []
    for v in verdicts:
        lines.append(f"{MARKS[v.outcome]} {v.outcome:<17} {v.name} ({v.kind}): {v.says}")
        lines.append(f"{'':<20}{v.test}: {figures(v)}")
    return [*lines, "", *tally(verdicts)] if verdicts else []


def figures(v: Verdict) -> str:
    """The distance beyond the threshold with its interval, both arms' means, seeds as claimed by themselves, and p."""
    found = [f"{number(v.distance.mean, '+')} beyond" if v.distance.n else "nothing measured"]
    if not math.isnan(v.distance.low):
        ends = f"[{number(v.distance.low, '+')}, {number(v.distance.high, '+')}]"
        found[0] += f", {100 * v.confidence:g} % interval {ends}"
    found.append(f"{v.held} of {v.distance.n} seeds")
    if v.means:
        found.append(f"means {', '.join(number(mean) for mean in v.means.values())}")
    if not math.isnan(v.p):
        corrected = v.kind in ("main", "secondary")
        found.append(f"p {v.p:.2g}" + (f" ({v.adjusted_p:.2g} among all claims)" if corrected else ""))
    if v.outcome == "undecided" and not math.isnan(v.distance.half_width):
        found.append(needed(v))
    return "; ".join([*found, *([v.note] if v.note else [])])


def needed(v: Verdict) -> str:
    """How far an undecided claim is from a decision."""
    half = f"half-width {number(v.distance.half_width)}"
    return f"{half}, {v.seeds_needed} seeds would decide" if v.seeds_needed else half


def tally(verdicts: Sequence[Verdict]) -> list[str]:
    """Of each kind of claims how many hold, and the controls that help where they must not."""
    words = {
        "main": "main",
        "secondary": "secondary",
        "control": "controls",
        "precondition": "preconditions",
        "check": "checks",
    }
    found = []
    for kind, word in words.items():
        those = [v.outcome for v in verdicts if v.kind == kind]
        if those:
            found.append(f"{word} {sum(outcome in ('reproduced', 'equal') for outcome in those)} of {len(those)}")
    helping = [v.name for v in verdicts if v.kind == "control" and v.outcome == "contradicted"]
    lines = [f"hold: {', '.join(found)}"]
    return [*lines, f"a control helps that must not: {', '.join(helping)}"] if helping else lines


def agreement_lines(found: Sequence[Agreement]) -> list[str]:
    """A line for each reported number: the verdict, both numbers, their difference with its interval, and the tolerance."""
    lines = []
    for one in found:
        spread = "" if one.spread is None else f" ± {number(one.spread)}"
        said = [f"measured {number(one.measured)}, reported {number(one.value)}{spread}"]
        ends = ""
        if not math.isnan(one.difference.low):
            ends = f", {100 * one.confidence:g} % interval [{number(one.difference.low, '+')}, {number(one.difference.high, '+')}]"
        said.append(f"difference {number(one.difference.mean, '+')}{ends}, tolerance {number(one.tolerance)}")
        said += [f"p {one.p:.2g}"] if not math.isnan(one.p) else []
        said += [f"{one.seeds_needed} seeds would decide"] if one.seeds_needed else []
        said += [one.note] if one.note else []
        table = f" ({one.table})" if one.table else ""
        lines.append(f"{AGREEMENT[one.outcome]} {one.outcome:<17} {one.metric}{table}: {'; '.join(said)}")
    return lines


def rival_lines(rivals: Sequence[Rival], reasons: Mapping[str, str] | None = None) -> list[str]:
    """Arms that are ahead of the method and that no claim reads, a line each, with why they are there (``reasons``, by arm)."""
    lines = []
    for r in rivals:
        half = "" if math.isnan(r.lead.half_width) else f" ± {number(r.lead.half_width)}"
        lead = f"{number(r.lead.mean)}{half}"
        why = f"; exploratory: {reasons[r.arm]}" if reasons and r.arm in reasons else ""
        lines.append(f"! no claim reads {r.arm}, ahead of {r.method} by {lead} in {r.metric} ({r.claim}{why})")
    return lines


def objective_line(found: Reached) -> str:
    """``objective: maximize valid.accuracy: 0.9312``, and how it was chosen where nobody stated it."""
    note = f"  ({found.note}; objective=METRIC chooses)" if found.note else ""
    return f"objective: {found.objective}: {number(found.value)}{note}"


def best_arm_line(found: Mapping[str, Sequence[Reached]]) -> str:
    """The objective and the arm whose mean over seeds is best; empty where no arm reached one, and no arm if they differ."""
    reached = [one for several in found.values() for one in several]
    objectives = list(dict.fromkeys(one.objective for one in reached))
    if not objectives:
        return ""
    if len(objectives) > 1 or objectives[0].goal is None:
        note = reached[0].note if len(objectives) == 1 else "arms have their own"
        return f"objective: {', '.join(map(str, objectives))}{f'  ({note})' if note else ''}"
    values = {arm: [one.value for one in several] for arm, several in found.items() if several}
    sign = 1 if objectives[0].goal == "maximize" else -1
    best = max(values, key=lambda arm: sign * mean_interval(values[arm]).mean)
    return f"objective: {objectives[0]}; best arm: {best}, {format_interval(values[best])}"


def headline(results: Results, verdicts: Sequence[Verdict], metrics: Sequence[str] = ()) -> str:
    """The result as plain text: a table of ``metrics`` (see ``arm_table``), then the verdicts."""
    header, rows = arm_table(results, metrics)
    return "\n".join([text_table(header, rows), "", *verdict_lines(verdicts)])
