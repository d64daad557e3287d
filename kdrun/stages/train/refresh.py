"""Rows chosen anew every so many epochs, from what a step says of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref, parse_node
from kdrun.optim.schedules import Progress
from kdrun.registry import catalog
from kdrun.runtime.context import Context
from kdrun.stages.train.feed import Feed
from kdrun.step.compiler import Compiler
from kdrun.step.function import StepFunction
from kdrun.step.trainable import make_schedule

__all__ = ["Refresh"]


class Refresh:
    """Rows of ``data`` chosen anew by an op, from what step nodes say of all of them, or of all rows of the loader ``over``.

    What is read over another loader chooses no rows: it is for the step's state.
    """

    def __init__(
        self, content: Mapping[str, Any], compiler: Compiler, loaders: Mapping[str, Dataset], *, key: str
    ) -> None:
        node = parse_node("refresh", dict(content), key=key, verbs=("op",))
        self.part = catalog().get("op", node.part, key=f"{key}.op")
        bound = self.part.bind(node.inputs, key=key)
        self.names = list(bound)
        over = str(node.params.get("over", "data"))
        self.other = None if over == "data" else loaders[over]
        self.values = StepFunction(compiler, [*node.refs(), Ref("batch", ("index",))], over)
        self.state = {name: compiler.bound.tensors[name] for name in compiler.step.state}
        self.every = int(node.params.get("every", 1))
        self.options = {k: v for k, v in node.params.items() if k not in ("every", "over")}
        self.schedules = {k: make_schedule(v) for k, v in self.options.items() if isinstance(v, dict)}

    def rows(self, feed: Feed, progress: Progress, context: Context) -> Tensor:
        """Row numbers [chosen] (int64) for the epochs from ``progress.epoch`` on; writes the step's state if the op says so."""

        def augment(number: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return feed.augmented(batch, "refresh", progress.epoch, number)

        augmented = self.other is None and bool(feed.data.random_transforms())
        *found, index = self.values.over(
            feed.data if self.other is None else self.other,
            batch_size=feed.size,
            context=context,
            augment=augment if augmented else None,
        )
        options = {**self.options, **{k: schedule(progress) for k, schedule in self.schedules.items()}}
        if "generator" in self.part.injected:
            options["generator"] = context.generator("refresh", progress.epoch)
        chosen = self.part.load()(**dict(zip(self.names, found, strict=True)), **options)
        if isinstance(chosen, Mapping):
            self._write(chosen, index, context)
            chosen = chosen.get("rows", torch.arange(len(feed.data)))
        elif self.other is not None:
            raise InputError(
                "a refresh over other rows gives a mapping of states", key=f"{context.config_key}.refresh.over"
            )
        if len(chosen) == 0:
            raise InputError(f"refresh chose no row in epoch {progress.epoch}", key=f"{context.config_key}.refresh")
        return torch.as_tensor(chosen)

    def _write(self, values: Mapping[str, Tensor], index: Tensor, context: Context) -> None:
        """Put each row's values into the state of the same name, at the row's index in the whole data."""
        key = f"{context.config_key}.refresh"
        named = [name for name in self.state if name in values]
        if not named and "rows" not in values:
            raise InputError(f"refresh gives {', '.join(values)}: no state of the step has such a name", key=key)
        for name in named:
            held, given = self.state[name], values[name]
            if given.shape != (len(index), *held.shape[1:]):
                raise InputError(
                    f"refresh gives {list(given.shape)} for the state '{name}' {list(held.shape)}", key=key
                )
            held[index.to(held.device)] = given.to(held)
