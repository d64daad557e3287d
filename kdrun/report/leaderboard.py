"""The leaderboard of a recipe: arms ranked by one metric, with what the training of each costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.claims import mean_interval
from kdrun.claims.values import Results
from kdrun.errors import InputError, nearest
from kdrun.grammar.measurements import look_up
from kdrun.report.tables import format_interval

__all__ = ["check_leaderboard", "check_ranked", "leaderboard"]

NEEDED = ("metric", "against")
OPTIONS = ("cost", "order")


def check_leaderboard(content: Any, arms: Sequence[str]) -> None:
    """Raise ``InputError`` (key ``leaderboard``) unless it reads ``{metric: ..., against: ARM}``.

    ``cost: STAGE`` compares an epoch of that stage instead of all training, ``order: lowest`` puts the least first.
    """
    if not isinstance(content, dict) or not set(NEEDED) <= set(content) <= {*NEEDED, *OPTIONS}:
        raise InputError(
            "a leaderboard reads {metric: test.accuracy, against: ARM}, with cost: STAGE and order: lowest if wanted",
            key="leaderboard",
        )
    if content.get("order", "highest") not in ("highest", "lowest"):
        raise InputError(f"order is highest or lowest, got {content['order']!r}", key="leaderboard.order")
    if content["against"] not in arms:
        raise InputError(
            f"there is no arm '{content['against']}'{nearest(content['against'], arms)}", key="leaderboard.against"
        )


def check_ranked(content: Mapping[str, Any], labels: Mapping[str, Sequence[str]]) -> None:
    """Raise ``InputError`` if the arm ``against`` will not measure the metric; ``labels`` are what each arm will measure."""
    against = content["against"]
    look_up(str(content["metric"]), labels[against], what=f"arm '{against}' measures no", key="leaderboard.metric")


def leaderboard(
    content: Mapping[str, Any], results: Results, costs: Mapping[str, Mapping[str, float]]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows, best mean first.

    ``costs`` holds each arm's FLOPs by stage: of an epoch, and under "" of all its training, first stages included; the
    columns are relative to the arm ``against``. Arms of one mean share a rank. Differences from that arm are paired by seed. Raises ``InputError`` if no arm measured the metric.
    """
    metric, against, stage = str(content["metric"]), str(content["against"]), str(content.get("cost", ""))
    wholes = {name: costs.get(against, {}).get(name, 0.0) for name in dict.fromkeys([stage, ""])}
    base = {seed: values[metric] for seed, values in results[against].items() if metric in values}
    ranked = []
    for arm, runs in results.items():
        values = [runs[s][metric] for s in sorted(runs) if metric in runs[s]]
        if values:
            gains = [runs[s][metric] - base[s] for s in sorted(runs) if metric in runs[s] and s in base]
            shares = [costs.get(arm, {}).get(n, 0.0) / whole if whole else 0.0 for n, whole in wholes.items()]
            ranked.append((mean_interval(values).mean, arm, values, gains, shares))
    if not ranked:
        known = sorted({m for runs in results.values() for values in runs.values() for m in values})
        look_up(metric, known, what="no arm measures", key="leaderboard.metric")
    way = 1 if content.get("order") == "lowest" else -1
    ranked.sort(key=lambda row: (way * row[0], row[1]))
    header = ["rank", "arm", metric, f"over {against}", *(["cost of an epoch"] if stage else []), "cost of training"]
    return header, [
        [
            str(1 + sum(way * other[0] < way * mean for other in ranked)),
            arm,
            format_interval(values),
            format_interval(gains) if arm != against else "",
            *(f"{cost:.2f} ×" if cost else "" for cost in shares),
        ]
        for mean, arm, values, gains, shares in ranked
    ]
