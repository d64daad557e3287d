"""Keys of stages: what is part of them."""

from __future__ import annotations

from kdrun.graph.check import check
from kdrun.graph.keys import Keys


def test_the_seed_of_data_is_part_of_its_key() -> None:
    config = {
        "data": {"data": "glyphs", "per_class": 2, "seed": 1},
        "graph": {"counts": {"stage": "reduce", "by": "class_counts", "from": ["data.train"]}},
    }
    keys = [
        Keys(check({**config, "data": {**config["data"], "seed": s}}), seed=0, hardware={})["counts"] for s in (1, 1, 2)
    ]
    assert keys[0] == keys[1] != keys[2]
