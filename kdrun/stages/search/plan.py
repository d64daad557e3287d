"""Planning a ``search`` stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from kdrun.data.dataset import DataInfo
from kdrun.grammar.nodes import Node
from kdrun.grammar.steps import parse_step
from kdrun.models.building import resolve, sizes_from_data
from kdrun.registry import catalog, plan_of
from kdrun.runtime.artifacts import Model
from kdrun.runtime.known import UNKNOWN, Planned
from kdrun.step.plan import traced

__all__ = ["plan"]


@plan_of("search")
def plan(node: Node, values: Mapping[str, Any]) -> Planned:
    """Any candidate stands for the best: its scores are traced, and later stages are planned with it."""
    space = dict(node.params["space"])
    part = catalog().get("space", space.pop("space"), key=f"{node.key}.space")
    example = Model(part.load()(**space).sample(torch.Generator().manual_seed(0)), None)
    data = values.get("data")
    parameters: dict[str, int] = {}
    if isinstance(data, DataInfo):
        for name, content in node.params["scores"].items():
            if "nodes" in content:
                step = parse_step({"nodes": content["nodes"]}, key=f"{node.key}.scores.{name}")
                size = int(node.params.get("batch_size", 64))
                given = {**values, "candidate": example}
                found = traced(step, given, extra={}, batch_size=size)
                parameters.update(found.parameters)
        example = Model(resolve(example.spec, sizes_from_data(data)), None)
    fields = {"": UNKNOWN, "best": example, "candidates": [example] * int(node.params.get("keep") or 0)}
    return Planned(fields, parameters=parameters, notes=("planned with an arbitrary candidate",))
