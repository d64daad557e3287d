"""The results of reproductions that the documents show: a file a recipe under results/, its verdicts a line each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "results"


def recorded() -> dict[str, Any]:
    """By recipe: the number of ``seeds``, the ``leaderboard`` (header and rows, or None) and the ``verdicts``."""
    files = sorted(FOLDER.rglob("*.json"))
    return {path.relative_to(FOLDER).with_suffix("").as_posix(): json.loads(path.read_text()) for path in files}


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
        "verdicts": [
            {
                **{word: verdict[word] for word in ("name", "says", "outcome", "test")},
                **{word: verdict["interval"][word] for word in ("mean", "low", "high")},
            }
            for verdict in content["verdicts"]
        ],
    }


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
    yield '"verdicts": [\n' + ",\n".join(_text(v) for v in found["verdicts"]) + "\n]"


def _text(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)
