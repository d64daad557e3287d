"""The decorators, one a kind. They mark; the scanner reads the marks from the source text.

A decorator may carry literal options, read from the text as well:

- ``name``: the registered name, where it differs from the function's;
- ``extra``: the extra of ``pip install kdrun[extra]`` that the part needs;
- ``requires``: packages whose version belongs into the key of a stage that uses the part;
- ``outputs``: names of a model's outputs (default ``logits``);
- ``fields``: for data, the names of its splits; for a stage part, the fields of its result;
- ``types``: for a stage, what fields of its result are (``model``, ``data``, ``tensor``, ``table``);
- ``columns``: for a stage that makes a table and takes ``metrics`` or ``columns``, ``"open"`` where it adds columns of its own;
- ``items``: the parameter that tells how many parts a value has: for data by field, for a partition of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

__all__ = ["BY_KINDS", "KINDS"]

T = TypeVar("T", bound=Callable[..., Any])

BY_KINDS = (
    "reduce",
    "label",
    "select",
    "mix",
    "corrupt",
    "generate",
    "initialize",
    "merge",
    "compress",
    "prune",
    "solve",
    "partition",
)
"""Stage kinds whose work is named by ``by``: ``{stage: reduce, by: class_mean, ...}``."""

KINDS = (
    "op",
    "model",
    "data",
    "stage",
    "metric",
    "transform",
    "sampler",
    "optimizer",
    "scheduler",
    "schedule",
    "gradient",
    "space",
    "strategy",
    "tracker",
    *BY_KINDS,
)


class _Kind:
    """A decorator usable bare (``@op``) or with literal options (``@model(extra="diffusion")``)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @overload
    def __call__(self, part: T, /) -> T: ...
    @overload
    def __call__(self, part: None = None, /, **options: Any) -> Callable[[T], T]: ...
    def __call__(self, part: Any = None, /, **options: Any) -> Any:
        return part if part is not None else (lambda inner: inner)


op = _Kind("op")
model = _Kind("model")
data = _Kind("data")
stage = _Kind("stage")
metric = _Kind("metric")
transform = _Kind("transform")
sampler = _Kind("sampler")
optimizer = _Kind("optimizer")
scheduler = _Kind("scheduler")
schedule = _Kind("schedule")
gradient = _Kind("gradient")
space = _Kind("space")
strategy = _Kind("strategy")
tracker = _Kind("tracker")
reduce = _Kind("reduce")
label = _Kind("label")
select = _Kind("select")
mix = _Kind("mix")
corrupt = _Kind("corrupt")
generate = _Kind("generate")
initialize = _Kind("initialize")
merge = _Kind("merge")
compress = _Kind("compress")
prune = _Kind("prune")
solve = _Kind("solve")
partition = _Kind("partition")
