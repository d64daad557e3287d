"""From what a record keeps of images, maps, points, texts, scenes and rankings to what a page draws."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from kdrun.report.budgets import figure
from kdrun.report.exhibit_figures import points_plot, scenes_plot, trade_plot

__all__ = ["embedding", "images", "maps", "picture_in", "profile", "rankings", "scenes", "text_in", "texts"]

PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
"""What a page takes for a picture."""

MOST_PICTURES = 500_000
"""Characters of the pictures of an exhibit; what comes after is left out, so that a page stays below a megabyte."""

MOST_ROWS = 200
LONGEST = 600
"""Characters of a text that are shown."""

MOST_POINTS = 2000

Content = Mapping[str, Any]


def picture_in(content: Content, name: str = "picture") -> str:
    """A picture of a content as a data URI; empty for what is none."""
    found = str(content.get(name, ""))
    return found if PICTURE.fullmatch(found) else ""


def text_in(value: Any) -> str:
    """A text as it is shown, cut where it is long."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _number(value: Any) -> float:
    """A finite number. Raises ``ValueError`` for another one."""
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{found} has no place")
    return found


def _fitting(rows: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The first rows whose pictures weigh no more than ``MOST_PICTURES`` together, and how many are left out."""
    kept: list[dict[str, Any]] = []
    left, weight = 0, 0
    for row in rows:
        weight += sum(len(v) for v in row.values() if isinstance(v, str))
        if weight <= MOST_PICTURES and len(kept) < MOST_ROWS:
            kept.append(row)
        else:
            left += 1
    return kept, left


def images(told: Content) -> Content:
    """Groups of pictures, each with its name, and how many are left out."""
    rows = [
        {"group": number, "row": int(one["row"]), "picture": picture_in(one), "caption": str(one.get("caption", ""))}
        for number, group in enumerate(told["groups"])
        for one in group["images"]
    ]
    kept, left = _fitting(row for row in rows if row["picture"])
    groups = [
        {"name": str(group["name"]), "images": [row for row in kept if row["group"] == number]}
        for number, group in enumerate(told["groups"])
    ]
    return {"groups": groups, "left": left}


def maps(told: Content) -> Content:
    """Rows of an image, its map, perhaps the true map, and what they add up to."""
    rows = [
        {
            "row": int(one["row"]),
            **{name: picture_in(one, name) for name in ("image", "map", "truth")},
            "sum": f"{_number(one['sum']):.3g}" if "sum" in one else "",
            "true_sum": f"{_number(one['true_sum']):.3g}" if "true_sum" in one else "",
        }
        for one in told["rows"]
    ]
    kept, left = _fitting(rows)
    return {"rows": kept, "left": left}


def embedding(told: Content) -> Content:
    """A drawing of points by class, with the share of the variance that its axes have."""
    points = [(_number(x), _number(y)) for x, y in told["points"]][:MOST_POINTS]
    names = [str(name) for name in told["names"]]
    classes = [int(one) for one in told["classes"]][:MOST_POINTS]
    if len(points) != len(classes) or not all(0 <= one < len(names) for one in classes):
        raise ValueError("a point has one class")
    shares = [f"{100 * _number(share):.0f} %" for share in told["shares"]]
    drawn = points_plot(points, classes, names, [f"principal axis {i + 1}: {s}" for i, s in enumerate(shares)])
    there = sorted(set(classes))
    counts = [[names[one], str(classes.count(one)), *_middle(points, classes, one)] for one in there]
    return {"plot": drawn, "rows": len(points), "classes": counts}


def _middle(points: list[tuple[float, float]], classes: list[int], one: int) -> list[str]:
    own = [point for point, label in zip(points, classes, strict=True) if label == one]
    return [f"{sum(p[axis] for p in own) / len(own):.3g}" for axis in (0, 1)]


def texts(told: Content) -> Content:
    """Rows of a prompt, an answer, perhaps the right one and how probable it is, and how many answers are right."""
    rows = [
        {
            "row": int(one["row"]),
            **{name: text_in(one[name]) for name in ("prompt", "answer", "reference") if name in one},
            "right": None if one.get("right") is None else bool(one["right"]),
            "probability": f"{100 * _number(one['probability']):.1f} %" if "probability" in one else "",
        }
        for one in told["rows"][:MOST_ROWS]
    ]
    judged = [row for row in rows if row["right"] is not None]
    return {"rows": rows, "judged": len(judged), "right": sum(bool(row["right"]) for row in judged)}


def scenes(told: Content) -> Content:
    """A drawing of the first scenes, and how many targets and estimates each has."""
    found: list[dict[str, Any]] = [
        {
            "row": int(one["row"]),
            **{n: [tuple(map(_number, p)) for p in one[n]] for n in ("measurements", "targets", "estimates")},
        }
        for one in told["scenes"][:12]
    ]
    header = ["scene", "measurements", "targets", "estimates"]
    counts = [[str(one["row"]), *(str(len(one[name])) for name in header[1:])] for one in found]
    return {"plot": scenes_plot(found), "header": header, "counts": counts}


def rankings(told: Content) -> Content:
    """Questions, each with its likeliest answers, the right one and the rank of that."""
    return {
        "queries": [
            {
                "question": text_in(one["question"]),
                "right": text_in(one["right"]),
                "rank": f"{_number(one['rank']):g}",
                "answers": [
                    {"name": text_in(a["name"]), "score": f"{_number(a['score']):.2f}", "right": bool(a["right"])}
                    for a in one["answers"][:20]
                ],
            }
            for one in told["queries"][:MOST_ROWS]
        ]
    }


def profile(told: Content) -> Content:
    """A line a model of its size, FLOPs and times, a drawing of its score over each, and these as numbers (``models``)."""
    models = [_profiled(one) for one in told["models"]]
    scores = {one["name"]: told["metrics"].get(one["scored"]) for one in models}
    known = {name: _number(score) for name, score in scores.items() if isinstance(score, int | float)}
    costs = {
        cost: {one["name"]: (one["costs"][cost], [known[one["name"]]]) for one in models if one["name"] in known}
        for cost in models[0]["costs"]
    }
    rows = [
        [
            one["name"],
            *(figure(value) if value >= 100 else f"{value:.3g}" for value in one["costs"].values()),
            figure(one["bytes"]),
            f"{one['scored']} {known[one['name']]:.4g}" if one["name"] in known else "",
        ]
        for one in models
    ]
    threads = int(told["threads"])
    return {
        "header": ["model", *models[0]["costs"], "bytes", "score"],
        "rows": rows,
        "plot": trade_plot("score", costs) if len(known) > 1 else "",
        "models": models,
        "machine": f"{text_in(told['machine'])}, {threads} thread{'s' if threads > 1 else ''}",
        "repeats": int(told["repeats"]),
    }


def _profiled(one: Mapping[str, Any]) -> dict[str, Any]:
    times = {f"ms, batch of {int(size)}": _positive(ms) for size, ms in one["milliseconds"].items()}
    costs = {"parameters": _positive(one["parameters"]), "FLOPs of a row": _positive(one["flops"]), **times}
    return {"name": str(one["name"]), "scored": str(one["scored"]), "bytes": _number(one["bytes"]), "costs": costs}


def _positive(value: Any) -> float:
    """A number that has a place on a logarithmic axis. Raises ``ValueError`` for another one."""
    found = _number(value)
    if found <= 0:
        raise ValueError(f"{found} has no place on a logarithmic axis")
    return found
