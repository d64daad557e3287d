"""The decorators, one a kind. They mark; the scanner reads the marks from the source text.

A decorator may carry literal options, read from the text as well:

- ``name``: the registered name, where it differs from the function's;
- ``extra``: the extra of ``pip install kdrun[extra]`` that the part needs;
- ``requires``: packages whose version belongs into the key of a stage that uses the part;
- ``outputs``: names of a model's outputs (default ``logits``);
- ``fields``: for data, the names of its splits; for a stage part, the fields of its result;
- ``types``: for a stage, what fields of its result are (``model``, ``data``, ``tensor``, ``table``, ``value``); a value
  called ``shown`` is kept in the run's record for pages, and says by ``kind`` how it is drawn;
- ``items``: the parameter that tells how many parts a value has: for data by field, for a partition of the whole;
- ``random``: whether a stage's result depends on the run's seed, or the parameter that makes it so (default: whether the part
  takes a generator or a context);
- ``machine``: whether a stage's result is of the machine that it ran on, as times are: its name is then part of the key;
- ``held_out``: for data, the splits with rows to be judged (default: ``test`` and ``…_test``);
- ``scored``: for a part that solves or reduces, the inputs whose rows it scores or answers, and from which it learns nothing
  (``graph.provenance``);
- ``best``: for a metric of one number, ``lowest`` where less of it is better (default: more is);
- ``together``: whether several processes run the stage together, if the hardware group asks for them; it reports its steps.

What a stage or a part must say of itself beside what it does is said by functions with marks of their own, in any module
that is read (``HOOKS``). They change no stored result, so they are in no key.

- ``@fields_of("train")``: ``(node) -> Fields``, the fields of a stage's value and their types;
- ``@check_of("train")``: ``(node, graph) -> None``, raises ``InputError`` for what is wrong before anything is imported;
- ``@parts_of("refresh")``: ``(content, key) -> [(kind, name)]``, the parts that a parameter of stages names;
- ``@plan_of("train")``: ``(node, values) -> Planned``, what is known of the result before it runs;
- ``@columns_of("evaluate")``: ``(node) -> [(row, column)]``, the numbers in a stage's table, ``row`` None where it has one
  (``graph.columns``); of a stage that says nothing, only running tells;
- ``@shape_of("select", "top_k")``: what a part gives on fake tensors, for one that reads their values. It takes what the part takes,
  and stand-ins for ``context`` and ``generator`` if it names them.

``check_of`` and ``plan_of`` may name a parameter instead of a stage: they then serve all stages that take it and have none of
their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

__all__ = ["BY_KINDS", "HOOKS", "KINDS"]

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
    "solve",
    "partition",
    "show",
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
    "schedule",
    "gradient",
    "space",
    "strategy",
    "tracker",
    *BY_KINDS,
)


HOOKS = ("fields_of", "check_of", "parts_of", "plan_of", "columns_of", "shape_of")
"""Marks of functions that say something of a stage, a parameter of stages, or a part."""


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
solve = _Kind("solve")
partition = _Kind("partition")
show = _Kind("show")


def _hook(*target: str) -> Callable[[T], T]:
    """Mark a function as what it says of ``target``: a stage or a parameter of stages, or kind and name of a part."""
    return lambda inner: inner


fields_of = check_of = parts_of = plan_of = columns_of = shape_of = _hook
