"""What differs between two recorded runs: settings, code, data, versions, and what moved with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdrun.engine.query import RecordedRun, flat, is_lowest_best
from kdrun.engine.records import PARTS, read_json

__all__ = ["Difference", "compare"]

PLACES = ("store", "runs")
"""Settings that say where a run put things, and change nothing of it."""

Pair = tuple[Any, Any]
"""What the one run has and what the other, None where it has none."""


@dataclass(frozen=True)
class Difference:
    """What differs between two runs, each as name → (the one, the other).

    ``settings`` by dotted name; ``code`` are the parts whose source differs and the commit; ``data`` the fingerprints of what was
    read, by node; ``versions`` of packages, Python and the machine; ``metrics`` all those that differ, with ``lowest`` naming
    those of which less is better; ``seconds`` of all stages together. ``stages`` tells by the keys which results are the ``same``,
    which were ``remade`` of something else, and which stages are ``only`` in one. ``unknown``: records that cannot be read.
    """

    settings: Mapping[str, Pair] = field(default_factory=dict)
    code: Mapping[str, Pair] = field(default_factory=dict)
    data: Mapping[str, Pair] = field(default_factory=dict)
    versions: Mapping[str, Pair] = field(default_factory=dict)
    metrics: Mapping[str, Pair] = field(default_factory=dict)
    lowest: Sequence[str] = ()
    seconds: Pair = (None, None)
    stages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unknown: Sequence[str] = ()


def compare(one: RecordedRun, other: RecordedRun) -> Difference:
    """What differs between two runs. Records that cannot be read are told under ``unknown``."""
    parts = [_read(run.folder, PARTS) for run in (one, other)]
    keys = [_read(run.folder, "keys.json") for run in (one, other)]
    around = [_read(run.folder, "environment.json") for run in (one, other)]
    unknown = [
        f"{run.folder / name}"
        for found, name in ((parts, PARTS), (keys, "keys.json"), (around, "environment.json"))
        for run, content in zip((one, other), found, strict=True)
        if not content
    ]
    commits = [_commit(content) for content in around]
    code = _pairs(*(_mapping(content, "parts") for content in parts))
    metrics = _pairs(one.metrics, other.metrics)
    return Difference(
        settings={n: p for n, p in _pairs(one.settings, other.settings).items() if n not in PLACES},
        code={**code, **({"commit": (commits[0], commits[1])} if commits[0] != commits[1] else {})},
        data=_pairs(*(_mapping(content, "outside") for content in parts)),
        versions=_pairs(*map(_versions, around)),
        metrics=metrics,
        lowest=[name for name in metrics if is_lowest_best(name, (one, other))],
        seconds=(one.about()["seconds"], other.about()["seconds"]),
        stages=_stages(*keys),
        unknown=unknown,
    )


def _read(folder: Path, name: str) -> Mapping[str, Any]:
    """A mapping in a folder of records; empty where there is none."""
    try:
        found = read_json(folder / name)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _mapping(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    return flat(found) if isinstance(found := content.get(name), Mapping) and found else {}


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Pair]:
    names = [*one, *(name for name in other if name not in one)]
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _commit(around: Mapping[str, Any]) -> str | None:
    git = around.get("git")
    if not isinstance(git, Mapping) or not git.get("commit"):
        return None
    return f"{str(git['commit'])[:12]}{' with changes' if git.get('changed') else ''}"


def _versions(around: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: around[name] for name in ("python", "platform", "processors") if name in around}
    return {**said, **_mapping(around, "versions")}


def _stages(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[str]]:
    shared = [name for name in one if name in other]
    return {
        "same": [name for name in shared if one[name] == other[name]],
        "remade": [name for name in shared if one[name] != other[name]],
        "only": sorted(set(one) ^ set(other)),
    }
