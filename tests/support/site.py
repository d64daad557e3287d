"""Records of a reproduction as a finished one leaves them, without anything being trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ARMS", "COUNTED", "RECORDED", "SHOWN_KINDS", "write_records"]

ARMS = ("kd", "scratch")
SEEDS = (0, 1, 2)
COUNTED = {
    "kind": "confusion",
    "names": ["cat", "dog"],
    "rows": [10, 4],
    "answers": [9, 5],
    "right": [8, 3],
    "counts": [[8, 2], [1, 3]],
}
"""What a run may keep to be shown: two classes, eleven rows of fourteen right."""

RECORDED: dict[str, Any] = {
    "seeds": 5,
    "leaderboard": None,
    "arms": [["arm", "seeds", "test.accuracy"], [["kd", "5", "0.9500 ± 0.0010"], ["scratch", "5", "0.9000 ± 0.0010"]]],
    "budgets": [["arm", "FLOPs", "teacher rows"], [["kd", "29G", "19.9k"], ["scratch", "4.8G", "0"]]],
    "verdicts": [
        {
            "name": "beats_scratch",
            "says": "it helps",
            "kind": "main",
            "outcome": "reproduced",
            "test": "kd.test.accuracy > scratch.test.accuracy",
            "means": {"kd.test.accuracy": 0.95, "scratch.test.accuracy": 0.9},
            "held": 5,
            "seeds": 5,
            "p": 0.001,
            "adjusted_p": 0.002,
            "seeds_needed": None,
            "note": "",
            "distance": 0.05,
            "low": 0.04,
            "high": 0.06,
        }
    ],
}
"""The results of ``kd`` as they are written down."""

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
"""One black pixel."""

SHOWN_KINDS: dict[str, dict[str, Any]] = {
    "confusion": COUNTED,
    "images": {
        "kind": "images",
        "groups": [{"name": "one call", "images": [{"row": 4, "picture": PICTURE, "caption": "a seven"}]}],
    },
    "maps": {
        "kind": "maps",
        "rows": [{"row": 1, "image": PICTURE, "map": PICTURE, "truth": PICTURE, "sum": 2.5, "true_sum": 3.0}],
    },
    "embedding": {
        "kind": "embedding",
        "points": [[0.0, 1.0], [2.0, 3.0], [4.0, -1.0]],
        "classes": [0, 1, 1],
        "names": ["cat", "dog"],
        "shares": [0.75, 0.2],
    },
    "texts": {
        "kind": "texts",
        "rows": [
            {
                "row": 0,
                "prompt": "the sky is",
                "answer": "blue",
                "reference": "blue",
                "right": True,
                "probability": 0.9,
            },
            {"row": 1, "prompt": "snow is", "answer": "blue", "reference": "white", "right": False},
        ],
    },
    "scenes": {
        "kind": "scenes",
        "scenes": [
            {
                "row": 3,
                "measurements": [[0.0, 1.0, 0.0], [0.5, 1.0, 1.0]],
                "targets": [[0.6, 1.0]],
                "estimates": [[0.5, 1.1, 0.9]],
            }
        ],
    },
    "rankings": {
        "kind": "rankings",
        "queries": [
            {
                "question": "sky · colour · ?",
                "right": "blue",
                "rank": 2,
                "answers": [
                    {"name": "red", "score": 3.0, "right": False},
                    {"name": "blue", "score": 2.0, "right": True},
                ],
            }
        ],
    },
    "profile": {
        "kind": "profile",
        "machine": "a processor",
        "threads": 1,
        "repeats": 30,
        "models": [
            {
                "name": name,
                "parameters": parameters,
                "bytes": 4 * parameters,
                "flops": 2 * parameters,
                "milliseconds": {"1": parameters / 1e4, "64": parameters / 1e3},
                "scored": scored,
            }
            for name, parameters, scored in (("teacher", 90_000, "test.nll"), ("student", 6274, "test.accuracy"))
        ],
    },
}
"""What runs may keep to be shown, by kind."""


def write_records(runs: Path, *, says: str = "a teacher helps") -> Path:
    """Write a study of two arms of ``kd`` at three seeds, one of whose runs failed, and a run by itself; return the study's folder."""
    from kdrun.config.compose import Composer

    folder = runs / "distillation-kd" / "reproduce-small"
    composer = Composer.named("kd", [])
    configs = {arm: composer.compose(arm=arm).config for arm in ARMS}
    results: dict[str, dict[str, dict[str, float]]] = {arm: {} for arm in ARMS}
    curves: dict[str, dict[str, list[dict[str, Any]]]] = {arm: {} for arm in ARMS}
    for number, arm in enumerate(ARMS):
        for seed in SEEDS:
            failed = (arm, seed) == ("scratch", 2)
            metrics = (
                {} if failed else {"test.accuracy": 0.9 - 0.1 * number + 0.01 * seed, "test.nll": 0.3 + 0.1 * number}
            )
            said = {"state": "failed", "error": "the loss became nan"} if failed else {"state": "finished"}
            content = {**configs[arm], "seed": seed}
            _run(folder / f"{arm}-seed{seed}", arm, seed, metrics, content, said)
            if not failed:
                results[arm][str(seed)] = metrics
                rows = [{"stage": "fit_student", "epoch": e, "step": e, "ce": 1.0 / e + seed} for e in (1, 2, 3)]
                curves[arm][str(seed)] = rows
    _run(runs / "distillation-kd" / "alone", "kd", 7, {"test.accuracy": 0.5}, configs["kd"], {"state": "finished"})
    distance = {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 2}
    verdict = {
        "name": "helps",
        "says": says,
        "kind": "main",
        "outcome": "reproduced",
        "test": "kd.test.accuracy > scratch.test.accuracy",
    }
    verdict |= {"distance": distance, "distances": [0.1, 0.1], "reported": {"kd": 0.93}, "note": ""}
    verdict |= {"means": {"kd.test.accuracy": 0.91, "scratch.test.accuracy": 0.805}}
    sizes = {"kd": {"parameters": 6274.0, "flops": 2e8}, "scratch": {"parameters": 12000.0, "flops": 1e8}}
    record = {
        "recipe": "distillation/kd",
        "scale": "small",
        "results": results,
        "verdicts": [verdict],
        "budgets": sizes,
    }
    (folder / "results.json").write_text(json.dumps(record))
    (folder / "curves.json").write_text(json.dumps(curves))
    (folder / "environment.json").write_text(json.dumps({"python": "3.11", "command": ["kdrun", "reproduce", "kd"]}))
    (folder / "config.yaml").write_text(yaml.safe_dump(composer.compose(scale="small").config, sort_keys=False))
    return folder


def _run(folder: Path, arm: str, seed: int, metrics: dict[str, float], config: Any, said: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    record = {"recipe": "distillation/kd", "arm": arm, "scale": "small", "seed": seed, "metrics": metrics, **said}
    record |= {"overrides": [f"arm={arm}", "scale=small"], "lowest": ["test.nll"], "seconds": {"fit_student": 1.5}}
    (folder / "result.json").write_text(json.dumps(record))
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
