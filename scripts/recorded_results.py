"""The results of reproductions that the documents show: a file a recipe under results/, its verdicts a line each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdrun.report.recorded import oriented, recorded_in

FOLDER = Path(__file__).parent.parent / "results"


def recorded() -> dict[str, Any]:
    """What stands in the folder of results, by recipe; see ``kdrun.report.recorded``."""
    return recorded_in(FOLDER)


def record(runs: Path) -> None:
    """Write down what every reproduction at scale small in a folder of runs gave."""
    for path in sorted(runs.glob("*/reproduce-small/results.json")):
        content = json.loads(path.read_text())
        write(content["recipe"], summary(content))


def summary(content: dict[str, Any]) -> dict[str, Any]:
    """What the pages need of a reproduction's record."""
    return {
        "seeds": max(len(rows) for rows in content["results"].values()),
        "leaderboard": content.get("leaderboard"),
        "arms": content.get("arms"),
        "budgets": content.get("budget_table"),
        "unclaimed": content.get("unclaimed") or [],
        "tuned": content.get("tuned"),
        "verdicts": [_shown(verdict) for verdict in content["verdicts"]],
    }


WORDS = ("name", "says", "kind", "outcome", "test", "held", "means", "p", "adjusted_p", "seeds_needed", "note")


def _shown(verdict: dict[str, Any]) -> dict[str, Any]:
    """What the pages need of a verdict; None for what is not a number."""
    if "distance" not in verdict:  # of before distances were oriented
        verdict = {**verdict, **{word: verdict["interval"][word] for word in ("mean", "low", "high")}}
        return oriented({word: verdict[word] for word in ("name", "says", "outcome", "test", "mean", "low", "high")})
    found = verdict["distance"]
    numbers = {"distance": found["mean"], "low": found["low"], "high": found["high"], "seeds": found["n"]}
    return {word: _finite(value) for word, value in {**{w: verdict[w] for w in WORDS}, **numbers}.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {word: _finite(one) for word, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(recipe: str, found: dict[str, Any]) -> None:
    path = FOLDER / f"{recipe}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(_lines(found)) + "\n}\n")


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """JSON with a line for each row and each verdict, so that a change shows what changed."""
    yield f'"seeds": {found["seeds"]}'
    board = found["leaderboard"]
    if board is not None:
        yield f'"leaderboard": [\n{_text(board[0])},\n[\n' + ",\n".join(map(_text, board[1])) + "\n]]"
    for word in ("arms", "budgets"):
        if found.get(word):
            header, rows = found[word]
            yield f'"{word}": [\n{_text(header)},\n[\n' + ",\n".join(map(_text, rows)) + "\n]]"
    if found.get("unclaimed"):
        yield '"unclaimed": [\n' + ",\n".join(map(_text, found["unclaimed"])) + "\n]"
    if found.get("tuned"):
        yield f'"tuned": {_text(found["tuned"])}'
    yield '"verdicts": [\n' + ",\n".join(_text(v) for v in found["verdicts"]) + "\n]"


def _text(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)
