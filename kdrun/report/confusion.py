"""What pages show of a classifier's answers: its confusion matrix or most confused pairs, and recall and precision by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.report.exhibit_kinds import picture_in, text_in

__all__ = ["confusion"]

SHADES = 10
"""How many colours a matrix has beside none; ``site.css`` has a class for each."""


def confusion(told: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of cells, or of pairs, and a line a class. Raises what a content of another form leads to."""
    names = [str(name) for name in told["names"]]
    rows, answers, right = ([int(v) for v in told[word]] for word in ("rows", "answers", "right"))
    classes = [
        [name, str(n), _share(good, n), _share(good, said)]
        for name, n, said, good in zip(names, rows, answers, right, strict=True)
    ]
    counts = [[int(v) for v in line] for line in told.get("counts") or ()]
    matrix = (
        [
            {"name": name, "cells": [{"count": v, "shade": _shade(v, n)} for v in line]}
            for name, n, line in zip(names, rows, counts, strict=True)
        ]
        if counts
        else []
    )
    pairs = [
        [names[int(label)], names[int(answer)], str(int(n)), _share(int(n), rows[int(label)])]
        for label, answer, n in told.get("pairs") or ()
    ]
    wrong = [
        {
            "row": int(one["row"]),
            "label": names[int(one["label"])],
            "answer": names[int(one["answer"])],
            "probability": f"{100 * float(one['probability']):.1f} %",
            "picture": picture_in(one),
            "text": text_in(one.get("text", "")),
        }
        for one in told.get("wrong") or ()
    ]
    return {
        "wrong": wrong,
        "names": names,
        "matrix": matrix,
        "pairs": pairs,
        "classes": classes,
        "rows": sum(rows),
        "right": sum(right),
    }


def _share(part: int, whole: int) -> str:
    """A share in percent; nothing where there is nothing to share."""
    return f"{100 * part / whole:.1f} %" if whole else ""


def _shade(count: int, rows: int) -> int:
    """The colour of a cell by its share of the label's rows: 0 for none, else 1 to ``SHADES``."""
    return max(1, round(SHADES * count / rows)) if count and rows else 0
